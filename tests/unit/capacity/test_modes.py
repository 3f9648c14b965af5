"""Every mode's pods, with ENIs that users keep back, RDMA and prefixes."""

from __future__ import annotations

import pytest

from terway.capacity.modes import Wish, capacities
from terway.capacity.pods import Tuning
from terway.model.address import IPStack
from tests.unit.capacity.test_pods import limits

G7_XLARGE = limits(4, 15, 15, eni_trunk_supported=True, eni_total_quantity=20)
G8_ERDMA = limits(8, 30, 30, eri_quantity=2, eni_total_quantity=8)


def pods(of, **wish):
    return {one.mode: one.pods for one in capacities(of, Wish(**wish))}


def test_each_mode_by_the_documentations_formula():
    assert pods(G7_XLARGE) == {"shared ENI": 45, "exclusive ENI": 3, "trunk members": 16}


@pytest.mark.parametrize(
    ("tuning", "shared"),
    [
        (Tuning(ratio=0.5), 15),
        (Tuning(shift=-1), 30),
        (Tuning(shift=5), 45),  # never more than the type has
        (Tuning(max_enis=2), 30),
        (Tuning(ratio=0.1), 0),
    ],
)
def test_what_users_keep_back_is_not_counted(tuning, shared):
    assert pods(G7_XLARGE, tuning=tuning)["shared ENI"] == shared


def test_rdma_interfaces_take_the_place_of_ordinary_ones():
    assert pods(G8_ERDMA)["shared ENI"] == 210
    assert pods(G8_ERDMA, uses_erdma=True) == {
        "shared ENI": 150,
        "exclusive ENI": 5,
        "trunk members": 0,
        "ERDMA": 60,
    }


def test_each_enis_primary_address_takes_the_place_of_a_prefix():
    assert pods(G7_XLARGE, uses_prefixes=True)["IPv4 prefixes"] == 14 * 3 * 16
    assert pods(G7_XLARGE, uses_prefixes=True, prefix_count=4)["IPv4 prefixes"] == 64


def test_more_prefixes_than_go_are_refused_with_the_reason():
    prefixes = capacities(G7_XLARGE, Wish(uses_prefixes=True, prefix_count=43))[-1]

    assert not prefixes.is_enough
    assert prefixes.why_not == "43 prefixes do not fit: 3 ENIs have room for 42"


def test_ipv6_only_prefix_is_one_80():
    wish = Wish(uses_prefixes=True, stack=IPStack.IPV6)

    assert capacities(G7_XLARGE, wish)[-1].pods == 65536


def test_a_mode_says_why_it_cannot_be():
    shared, exclusive, members = capacities(limits(2, 10), Wish(stack=IPStack.DUAL))

    assert shared.why_not == exclusive.why_not == "the type has no IPv6 addresses"
    assert members.why_not == "the type has no trunk ENI"


@pytest.mark.parametrize(("enis", "ipv4", "enough"), [(2, 11, False), (2, 12, True)])
def test_a_node_needs_more_than_the_minimum(enis, ipv4, enough):
    assert capacities(limits(enis, ipv4), Wish())[0].is_enough is enough


def test_the_arithmetic_is_shown_with_the_types_numbers():
    wish = Wish(tuning=Tuning(ratio=0.5, shift=1, max_enis=2))

    assert (
        capacities(G7_XLARGE, wish)[0].formula == "min((floor(4 x 0.5) + 1 - 1), 2) x 15 addresses"
    )
