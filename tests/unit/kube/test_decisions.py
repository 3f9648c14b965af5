"""How long a client waits, what a refusal means, who holds a lease."""

from __future__ import annotations

from random import Random

import pytest

from terway.kube.backoff import Backoff
from terway.kube.clock import format_micro_time, parse_time
from terway.kube.errors import Status, StatusDetails, read_status, translate
from terway.kube.lease import next_spec
from terway.kube.types import LeaseSpec
from terway.model.errors import ConflictError, ThrottledError, TransientError, UsageError


def test_waits_grow_to_a_limit_and_start_over_after_a_success():
    backoff = Backoff(Random(1), initial_s=1, maximum_s=8)

    waits = [backoff.next_s() for _ in range(6)]
    backoff.reset()

    for wait, longest in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert longest / 2 <= wait <= longest
    assert backoff.next_s() <= 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, UsageError),
        (401, UsageError),
        (403, UsageError),
        (404, ConflictError),
        (409, ConflictError),
        (410, ConflictError),
        (415, UsageError),
        (422, UsageError),
        (429, ThrottledError),
        (500, TransientError),
        (503, TransientError),
    ],
)
def test_a_status_becomes_the_error_that_says_what_to_do(code, error):
    assert type(translate(Status(code=code, message="why"), tried="get x")) is error


def test_a_throttled_call_says_how_long_to_wait():
    status = Status(code=429, details=StatusDetails(retry_after_seconds=7))

    error = translate(status, tried="get x")

    assert isinstance(error, ThrottledError)
    assert error.retry_after_s == 7


def test_a_proxys_error_page_is_quoted():
    status = read_status(502, b"<html>bad gateway</html>")

    assert str(translate(status, tried="get x")) == "get x: 502 : <html>bad gateway</html>"


NOW = 1_760_000_000.0


def held_by(holder: str, renewed: float) -> LeaseSpec:
    return LeaseSpec(
        holder_identity=holder,
        lease_duration_seconds=10,
        renew_time=format_micro_time(renewed),
        acquire_time=format_micro_time(renewed),
    )


@pytest.mark.parametrize(
    ("current", "holder"),
    [
        (LeaseSpec(), "me"),
        (held_by("me", NOW - 5), "me"),
        (held_by("me", NOW - 50), "me"),
        (held_by("other", NOW - 50), "me"),
        (held_by("other", NOW - 5), None),
    ],
)
def test_a_lease_is_taken_only_from_who_let_it_lapse(current, holder):
    spec = next_spec(current, holder="me", duration_s=10, now=NOW)

    assert (spec.holder_identity if spec else None) == holder


def test_a_renewal_keeps_the_time_of_acquisition():
    spec = next_spec(held_by("me", NOW - 5), holder="me", duration_s=10, now=NOW)

    assert spec is not None
    assert parse_time(spec.acquire_time or "") == NOW - 5
    assert parse_time(spec.renew_time or "") == NOW
