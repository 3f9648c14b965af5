"""A block of a case holds, in the lab, the same ends."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from terway.lab.policy.blocks import Addresses, Block, flatten, make_block

VPC = ip_network("192.168.0.0/16")
A, B, OUTSIDE = (ip_address(text) for text in ("10.0.0.1", "10.0.0.9", "203.0.113.7"))
REAL_A, REAL_B = ip_address("192.168.32.1"), ip_address("192.168.32.2")
ADDRESSES = Addresses(real={A: REAL_A, B: REAL_B, OUTSIDE: OUTSIDE}, ranges=(VPC,))


def block(cidr: str, *excepts: str) -> Block:
    found = make_block(cidr, excepts)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "written",
    [
        block("10.0.0.0/29"),
        block("10.0.0.0/8", "10.0.0.8/29"),
        block("10.0.0.9/32"),
        block("0.0.0.0/0"),
        block("0.0.0.0/0", "10.0.0.0/8"),
        block("0.0.0.0/0", "203.0.113.0/24", "10.0.0.0/29"),
        block("192.168.0.0/16"),
        block("192.168.32.0/31"),
        block("203.0.113.0/24"),
    ],
)
def test_a_translated_block_holds_exactly_the_ends_that_the_block_held(written):
    made = ADDRESSES.blocks(written)

    for case, real in ADDRESSES.real.items():
        assert any(real in one for one in made) == (case in written)


def test_a_block_that_means_the_same_is_left_as_it_was():
    assert ADDRESSES.blocks(block("0.0.0.0/0")) == (block("0.0.0.0/0"),)
    assert ADDRESSES.blocks(block("203.0.113.0/24")) == (block("203.0.113.0/24"),)


def test_a_block_of_nobody_but_real_addresses_disappears():
    assert ADDRESSES.blocks(block("192.168.32.0/24")) == ()


def test_an_exception_outside_of_its_block_says_nothing_and_a_whole_one_leaves_nothing():
    assert make_block("10.0.0.0/24", ["11.0.0.0/24"]) == block("10.0.0.0/24")
    assert make_block("10.0.0.0/24", ["10.0.0.0/8"]) is None


def test_host_bits_are_masked():
    assert make_block("10.0.0.77/24") == block("10.0.0.0/24")


def test_flat_ranges_hold_what_the_block_holds():
    ranges = list(flatten(block("10.0.0.0/29", "10.0.0.2/31", "10.0.0.6/32")))

    held = {str(address) for one in ranges for address in one}
    assert held == {f"10.0.0.{last}" for last in (0, 1, 4, 5, 7)}
