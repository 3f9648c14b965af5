"""Domain names mean what the API says they mean."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from terway.policy.domains import addresses_of, has_domain


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.Example.", True),
        ("a.example.", "a.example", True),
        ("a.example", "www.a.example", False),
        ("a.example", "xa.example", False),
        ("*.a.example", "www.a.example", True),
        ("*.a.example", "one.two.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", ".a.example", False),
        ("*.a.example", "xa.example", False),
    ],
)
def test_a_wildcard_is_one_or_more_labels(pattern, name, is_meant):
    assert has_domain(pattern, name) is is_meant


def test_addresses_are_those_of_every_name_meant_once_each():
    answers = {
        "x.a.example": [ip_address("fd00::1"), ip_address("10.0.0.2")],
        "y.a.example": [ip_address("10.0.0.2"), ip_address("10.0.0.1")],
        "b.example": [ip_address("10.0.0.9")],
    }

    found = addresses_of(["*.a.example", "c.example"], answers)

    assert found == (ip_network("10.0.0.1"), ip_network("10.0.0.2"), ip_network("fd00::1"))
