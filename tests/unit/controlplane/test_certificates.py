"""The webhook's certificate is replaced in time, and no request is refused over that."""

from __future__ import annotations

import ssl
import tempfile
import time

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.controlplane.certificates import (
    ANNOUNCE_S,
    LIFE_S,
    Bundle,
    Pair,
    expires_at,
    make_pair,
    next_bundle,
    read_bundle,
    write_bundle,
)

NOW = 1_800_000_000.0
DAY_S = 86_400.0
NAMES = ("terway-controlplane.kube-system.svc", "100.100.0.40")


def is_trusted(pair: Pair, ca_pem: str) -> bool:
    """Say whether somebody who has `ca_pem` takes the certificate for ours, by its signature."""
    client = ssl.create_default_context(cadata=ca_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pair.cert_pem + pair.key_pem)
        file.flush()
        server.load_cert_chain(file.name)
    ends = [ssl.MemoryBIO() for _ in range(4)]
    one = client.wrap_bio(ends[0], ends[1], server_hostname=NAMES[0])
    two = server.wrap_bio(ends[2], ends[3], server_side=True)
    for _ in range(6):
        for side, source, target in ((one, ends[1], ends[2]), (two, ends[3], ends[0])):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
            target.write(source.read())
    return one.version() is not None


@pytest.fixture(scope="module")
def fresh() -> Bundle:
    return next_bundle(None, NAMES, now=NOW)


def test_a_new_certificate_is_for_the_names_and_of_the_ca():
    bundle = next_bundle(None, NAMES, now=time.time())
    assert is_trusted(bundle.serving, bundle.ca_pem)
    stranger, _ = make_pair(NAMES, now=time.time())
    assert not is_trusted(bundle.serving, stranger)


def test_what_is_as_it_should_be_stays(fresh):
    assert next_bundle(fresh, NAMES, now=NOW + 200 * DAY_S) == fresh


def test_what_is_written_is_read_back(fresh):
    announced = next_bundle(fresh, NAMES, now=NOW + 300 * DAY_S)

    assert read_bundle(write_bundle(fresh)) == fresh
    assert read_bundle(write_bundle(announced)) == announced


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("held", ["", "nonsense"])
def test_a_secret_that_cannot_be_used_is_made_anew(fresh, name, held):
    assert read_bundle({**write_bundle(fresh), name: held}) is None


def test_a_new_one_is_announced_before_it_is_shown(fresh):
    due = NOW + LIFE_S * 0.7

    announced = next_bundle(fresh, NAMES, now=due)
    assert announced.serving == fresh.serving
    assert announced.following is not None
    assert announced.ca_pem.startswith(fresh.ca_pem)
    assert next_bundle(announced, NAMES, now=due + ANNOUNCE_S - 1) == announced

    shown = next_bundle(announced, NAMES, now=due + ANNOUNCE_S)
    assert shown.serving == announced.following
    assert shown.following is None
    assert shown.ca_pem == announced.ca_pem


def test_another_name_is_reason_for_another_certificate(fresh):
    announced = next_bundle(fresh, (*NAMES, "other.svc"), now=NOW + DAY_S)

    assert announced.following is not None
    assert announced.serving == fresh.serving


def test_an_expired_ca_leaves_the_bundle(fresh):
    announced = next_bundle(fresh, NAMES, now=NOW + 300 * DAY_S)
    shown = next_bundle(announced, NAMES, now=NOW + 301 * DAY_S)

    later = next_bundle(shown, NAMES, now=NOW + 366 * DAY_S)

    assert later.ca_pem.count("BEGIN") == 1
    assert later.serving == shown.serving


def is_issued_by(pair: Pair, ca_pem: str) -> bool:
    cert = x509.load_pem_x509_certificate(pair.cert_pem.encode())
    authorities = x509.load_pem_x509_certificates(ca_pem.encode())
    return cert.issuer in [one.subject for one in authorities]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(60.0, 120 * DAY_S), min_size=3, max_size=12))
def test_whoever_has_the_bundle_of_the_look_before_trusts_what_is_shown_now(pauses):
    now, bundle = NOW, next_bundle(None, NAMES, now=NOW)
    for pause_s in pauses:
        now += pause_s
        following = next_bundle(bundle, NAMES, now=now)

        # Unless nobody looked until the certificate had expired.
        is_expired = now >= expires_at(bundle.serving)
        assert is_expired or is_issued_by(following.serving, bundle.ca_pem)
        assert is_issued_by(following.serving, following.ca_pem)
        bundle = following


@pytest.mark.parametrize("ahead_s", [7200.0, 30 * DAY_S, 400 * DAY_S])
def test_a_certificate_of_a_clock_that_was_ahead_is_replaced_when_the_clock_is_set(ahead_s, fresh):
    ahead = next_bundle(None, NAMES, now=NOW + ahead_s)

    found = next_bundle(ahead, NAMES, now=NOW)

    begins = x509.load_pem_x509_certificate(found.serving.cert_pem.encode()).not_valid_before_utc
    assert begins.timestamp() <= NOW
    assert next_bundle(found, NAMES, now=NOW) == found


def test_what_was_announced_by_a_clock_that_was_ahead_is_announced_anew(fresh):
    due = NOW + LIFE_S * 0.7
    ahead = next_bundle(fresh, NAMES, now=due + 7200.0)
    assert ahead.following is not None

    again = next_bundle(next_bundle(ahead, NAMES, now=due), NAMES, now=due)

    assert again.serving == fresh.serving
    assert again.following not in (None, ahead.following)
    assert again.announced_at == due
    assert next_bundle(again, NAMES, now=due + ANNOUNCE_S).serving == again.following
