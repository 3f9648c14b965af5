"""Blocks, exceptions and overlaps: which addresses are left, and what covers each."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from terway.policy.compiling.nets import V6_ORIGIN, Nets, address_of, number_of, ranges_of
from terway.policy.policies import BlockPeer


def block(text: str, *excepts: str) -> BlockPeer:
    return BlockPeer(block=ip_network(text), excepts=tuple(map(ip_network, excepts)))


def spans(peer: BlockPeer) -> list[tuple[str, str]]:
    return [(str(address_of(a)), str(address_of(b))) for a, b in ranges_of(peer)]


@pytest.mark.parametrize(
    ("peer", "left"),
    [
        (block("10.0.0.0/30"), [("10.0.0.0", "10.0.0.3")]),
        (block("10.0.0.0/30", "10.0.0.0/31"), [("10.0.0.2", "10.0.0.3")]),
        (block("10.0.0.0/30", "10.0.0.2/31"), [("10.0.0.0", "10.0.0.1")]),
        (block("10.0.0.0/30", "10.0.0.1/32"), [("10.0.0.0", "10.0.0.0"), ("10.0.0.2", "10.0.0.3")]),
        (block("10.0.0.0/30", "10.0.0.2/32", "10.0.0.2/31"), [("10.0.0.0", "10.0.0.1")]),
        (block("10.0.0.0/30", "10.0.0.2/32", "10.0.0.0/31"), [("10.0.0.3", "10.0.0.3")]),
        (block("10.0.0.0/30", "10.0.0.0/30"), []),
        (block("0.0.0.0/0", "0.0.0.0/1"), [("128.0.0.0", "255.255.255.255")]),
        (block("::/0"), [("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]),
        (
            block("2001:db8::/126", "2001:db8::1/128"),
            [("2001:db8::", "2001:db8::"), ("2001:db8::2", "2001:db8::3")],
        ),
    ],
    ids=str,
)
def test_a_block_is_what_its_exceptions_leave(peer, left):
    """bug class 48"""
    assert spans(peer) == left


def test_many_exceptions_are_all_cut_out():
    holes = [f"10.0.{i}.0/25" for i in range(200)]

    left = ranges_of(block("10.0.0.0/16", *holes))

    assert len(left) == 200
    assert sum(last - first + 1 for first, last in left) == 2**16 - 200 * 128


def test_families_never_meet():
    nets = Nets([("all", ranges_of(block("0.0.0.0/0")))])

    assert nets.at(number_of(ip_address("255.255.255.255"))) == {"all"}
    assert nets.at(number_of(ip_address("::"))) == frozenset()
    assert number_of(ip_address("::")) == V6_ORIGIN


def test_overlapping_blocks_are_cut_where_one_begins_or_ends():
    wide, narrow = ranges_of(block("10.0.0.0/29")), ranges_of(block("10.0.0.2/31"))

    found = [
        (str(address_of(first)), str(address_of(last)), sorted(covers))
        for first, last, covers in Nets([("wide", wide), ("narrow", narrow)])
    ]

    assert found == [
        ("10.0.0.0", "10.0.0.1", ["wide"]),
        ("10.0.0.2", "10.0.0.3", ["narrow", "wide"]),
        ("10.0.0.4", "10.0.0.7", ["wide"]),
    ]


def test_blocks_that_touch_stay_apart():
    left, right = ranges_of(block("10.0.0.0/31")), ranges_of(block("10.0.0.2/31"))
    nets = Nets([("left", left), ("right", right)])

    assert [nets.at(number_of(ip_address(f"10.0.0.{i}"))) for i in range(5)] == [
        {"left"},
        {"left"},
        {"right"},
        {"right"},
        frozenset(),
    ]
