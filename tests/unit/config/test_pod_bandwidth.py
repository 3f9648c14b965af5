"""Limits and priority by annotation: both spellings, and what is refused."""

from __future__ import annotations

import pytest

from terway.config.pod_bandwidth import PARSE_FAILED, override, parse_bandwidth, parse_priority
from terway.model.errors import UsageError
from terway.model.interface import Bandwidth, NetworkPriority

OWN, STANDARD = "k8s.aliyun.com/egress-bandwidth", "kubernetes.io/egress-bandwidth"


@pytest.mark.parametrize(
    ("text", "bytes_s"),
    [
        ("1000B", 1000),
        ("1K", 1024),
        ("10M", 10 * 1024**2),
        ("10MB", 10 * 1024**2),
        ("10MiB", 10 * 1024**2),
        ("1.5G", 3 * 1024**3 // 2),
        ("1T", 1024**4),
    ],
)
def test_the_own_spelling_is_bytes_in_powers_of_1024(text, bytes_s):
    assert parse_bandwidth({OWN: text}) == Bandwidth(egress=bytes_s)


@pytest.mark.parametrize(
    ("text", "bytes_s"),
    [
        ("1M", 125_000),
        ("10G", 1_250_000_000),
        ("1Mi", 131_072),
        ("8000", 1000),
        ("1e6", 125_000),
        ("800000000m", 100_000),
        ("1.5M", 187_500),
    ],
)
def test_the_standard_spelling_is_a_quantity_of_bits(text, bytes_s):
    assert parse_bandwidth({STANDARD: text}) == Bandwidth(egress=bytes_s)


def test_the_standard_spelling_wins():
    assert parse_bandwidth({OWN: "1G", STANDARD: "8M"}) == Bandwidth(egress=1_000_000)


def test_each_direction_is_asked_for_by_itself():
    fallback = Bandwidth(ingress=1, egress=2)

    assert parse_bandwidth({OWN: "1K"}, fallback) == Bandwidth(ingress=1, egress=1024)
    assert override(fallback, Bandwidth(ingress=5)) == Bandwidth(ingress=5, egress=2)


@pytest.mark.parametrize(
    "annotations",
    [
        {OWN: "10"},
        {OWN: "10m"},
        {OWN: "-1M"},
        {OWN: "M"},
        {OWN: ""},
        {OWN: "0M"},
        {OWN: "99999999T"},
        {STANDARD: "10Mb"},
        {STANDARD: "0"},
        {STANDARD: "999"},
        {STANDARD: "1e99"},
        {STANDARD: "ten"},
    ],
)
def test_what_is_no_rate_is_refused_with_the_annotation_the_value_and_what_is_right(annotations):
    ((name, value),) = annotations.items()

    with pytest.raises(UsageError, match="must be") as refused:
        parse_bandwidth(annotations)

    assert refused.value.code == PARSE_FAILED
    assert name in refused.value.field
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize("priority", NetworkPriority)
def test_each_priority_can_be_asked_for(priority):
    assert parse_priority({"k8s.aliyun.com/network-priority": priority.value}) is priority


def test_without_a_wish_there_is_no_priority_and_another_word_is_refused():
    assert parse_priority({}) is None
    with pytest.raises(UsageError, match="guaranteed, burstable, best-effort"):
        parse_priority({"k8s.aliyun.com/network-priority": "high"})
