"""What a pod may send and what not: frames through the guard, checked against the oracle."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.guard_contract import GuardReason
from terway.model.address import IPPair
from tests.support import guard_oracle
from tests.support.frames import extension, fragment_header, ipv4, ipv6, tcp, udp
from tests.support.guard_program import GUARD, MAC, V4, V6, GuardProgramBench, open_guard

pytestmark = pytest.mark.root

OTHER4, OTHER6 = IPv4Address("192.168.32.2"), IPv6Address("2408:4005::2")
WORLD4, WORLD6 = IPv4Address("198.51.100.1"), IPv6Address("2001:db8::1")
ANY6, OWN_LL, GATEWAY_LL = IPv6Address("::"), GUARD.link_local, IPv6Address("fe80::1")
ROUTERS, NODES = IPv6Address("ff02::16"), IPv6Address("ff02::1:ff00:1")
OWN, FOREIGN = bytes.fromhex(MAC.replace(":", "")), bytes.fromhex("020000000002")


@pytest.fixture(scope="module")
def bench() -> Iterator[GuardProgramBench]:
    with open_guard() as opened:
        opened.own(GUARD)
        yield opened


def frame(ethertype: int, payload: bytes, *, source: bytes = OWN) -> bytes:
    return b"\xff" * 6 + source + ethertype.to_bytes(2, "big") + payload


def v4(source: IPv4Address, **more) -> bytes:
    return frame(0x0800, ipv4(source, WORLD4, 6, tcp(1, 2), **more))


def v6(
    source: IPv6Address,
    protocol: int = 6,
    payload: bytes | None = None,
    *,
    destination: IPv6Address = WORLD6,
) -> bytes:
    body = tcp(1, 2) if payload is None else payload
    return frame(0x86DD, ipv6(source, destination, protocol, body, hop_limit=255))


def arp(sender: IPv4Address, target: IPv4Address, *, mac: bytes = OWN, operation: int = 1) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return frame(0x0806, body + mac + sender.packed + bytes(6) + target.packed)


def nd(kind: int, target: IPv6Address | None, *options: tuple[int, bytes]) -> bytes:
    body = struct.pack("!BBHI", kind, 0, 0, 0) + (b"" if target is None else target.packed)
    return body + b"".join(bytes((option, 1)) + mac for option, mac in options)


def icmp6(kind: int) -> bytes:
    return struct.pack("!BBHI", kind, 0, 0, 0)


SOURCE_LINK, TARGET_LINK = 1, 2
PROBE = IPv4Address(0)
ROUTER_ALERT = bytes((58, 0, 5, 2, 0, 0, 1, 0))

CASES = {
    "its own IPv4 address": (v4(V4), GuardReason.NONE),
    "a neighbour's IPv4 address": (v4(OTHER4), GuardReason.SOURCE_ADDRESS),
    "DHCP, from 0.0.0.0": (v4(IPv4Address(0)), GuardReason.SOURCE_ADDRESS),
    "from the loopback": (v4(IPv4Address("127.0.0.1")), GuardReason.SOURCE_ADDRESS),
    "from broadcast": (v4(IPv4Address("255.255.255.255")), GuardReason.SOURCE_ADDRESS),
    "IPv4 with options": (v4(V4, options=bytes(8)), GuardReason.NONE),
    "a neighbour's with options": (v4(OTHER4, options=bytes(8)), GuardReason.SOURCE_ADDRESS),
    "a later fragment": (v4(V4, fragment=0x2010), GuardReason.NONE),
    "a neighbour's fragment": (v4(OTHER4, fragment=0x2010), GuardReason.SOURCE_ADDRESS),
    "IPv4 with a short header": (frame(0x0800, b"\x41" + v4(V4)[15:]), GuardReason.MALFORMED),
    "IPv6 called IPv4": (frame(0x0800, v6(V6)[14:]), GuardReason.MALFORMED),
    "another's MAC": (frame(0x0800, v4(V4)[14:], source=FOREIGN), GuardReason.SOURCE_MAC),
    "a VLAN tag": (frame(0x8100, b"\0\x07\x08\0" + v4(V4)[14:]), GuardReason.VLAN),
    "a service tag": (frame(0x88A8, b"\0\x07\x08\0" + v4(V4)[14:]), GuardReason.VLAN),
    "LLDP": (frame(0x88CC, bytes(46)), GuardReason.ETHERTYPE),
    "802.3": (frame(46, bytes(46)), GuardReason.ETHERTYPE),
    "asking with ARP": (arp(V4, OTHER4), GuardReason.NONE),
    "answering ARP": (arp(V4, OTHER4, operation=2), GuardReason.NONE),
    "gratuitous ARP": (arp(V4, V4), GuardReason.NONE),
    "ARP probe for its own": (arp(PROBE, V4), GuardReason.NONE),
    "ARP probe for another's": (arp(PROBE, OTHER4), GuardReason.ARP),
    "ARP for another's address": (arp(OTHER4, OTHER4), GuardReason.ARP),
    "ARP for another's MAC": (arp(V4, OTHER4, mac=FOREIGN), GuardReason.ARP),
    "ARP of another hardware": (frame(0x0806, b"\0\x06" + arp(V4, V4)[16:]), GuardReason.MALFORMED),
    "its own IPv6 address": (v6(V6), GuardReason.NONE),
    "a neighbour's IPv6 address": (v6(OTHER6), GuardReason.SOURCE_ADDRESS),
    "IPv4-mapped": (v6(IPv6Address("::ffff:192.168.32.2")), GuardReason.SOURCE_ADDRESS),
    "the IPv6 loopback": (v6(IPv6Address("::1")), GuardReason.SOURCE_ADDRESS),
    "no IPv6 source": (v6(ANY6), GuardReason.SOURCE_ADDRESS),
    "IPv6 behind extensions": (
        v6(V6, 0, extension(60) + extension(17) + udp(1, 2)),
        GuardReason.NONE,
    ),
    "a neighbour's behind extensions": (
        v6(OTHER6, 0, extension(60) + extension(17) + udp(1, 2)),
        GuardReason.SOURCE_ADDRESS,
    ),
    "extensions without end": (v6(V6, 60, extension(60) * 9), GuardReason.MALFORMED),
    "extensions that are cut off": (v6(V6, 0, extension(60, length=9)[:16]), GuardReason.MALFORMED),
    "an IPv6 fragment": (
        v6(V6, 44, fragment_header(17, 0, more=True) + udp(1, 2, bytes(8))),
        GuardReason.NONE,
    ),
    "a neighbour's IPv6 fragment": (
        v6(OTHER6, 44, fragment_header(17, 8, more=False) + bytes(8)),
        GuardReason.SOURCE_ADDRESS,
    ),
    "link-local to the node": (v6(OWN_LL, destination=GATEWAY_LL), GuardReason.NONE),
    "link-local to the world": (v6(OWN_LL), GuardReason.LINK_LOCAL),
    "another's link-local": (
        v6(IPv6Address("fe80::2"), destination=GATEWAY_LL),
        GuardReason.LINK_LOCAL,
    ),
    "the gateway's link-local": (v6(GATEWAY_LL, destination=NODES), GuardReason.LINK_LOCAL),
    "asking for a neighbour": (
        v6(V6, 58, nd(135, OTHER6, (SOURCE_LINK, OWN)), destination=NODES),
        GuardReason.NONE,
    ),
    "asking with another's MAC": (
        v6(V6, 58, nd(135, OTHER6, (SOURCE_LINK, FOREIGN)), destination=NODES),
        GuardReason.ND,
    ),
    "asking with a nonce, then another's MAC": (
        v6(V6, 58, nd(135, OTHER6, (14, bytes(6)), (SOURCE_LINK, FOREIGN)), destination=NODES),
        GuardReason.ND,
    ),
    "DAD for its own": (v6(ANY6, 58, nd(135, V6), destination=NODES), GuardReason.NONE),
    "DAD for its link-local": (v6(ANY6, 58, nd(135, OWN_LL), destination=NODES), GuardReason.NONE),
    "DAD for another's": (v6(ANY6, 58, nd(135, OTHER6), destination=NODES), GuardReason.ND),
    "DAD for a new link-local": (
        v6(ANY6, 58, nd(135, IPv6Address("fe80::99")), destination=NODES),
        GuardReason.LINK_LOCAL,
    ),
    "DAD to the world": (v6(ANY6, 58, nd(135, V6)), GuardReason.SOURCE_ADDRESS),
    "answering for itself": (
        v6(V6, 58, nd(136, V6, (TARGET_LINK, OWN)), destination=GATEWAY_LL),
        GuardReason.NONE,
    ),
    "answering for its link-local": (
        v6(OWN_LL, 58, nd(136, OWN_LL, (TARGET_LINK, OWN)), destination=GATEWAY_LL),
        GuardReason.NONE,
    ),
    "answering for another": (
        v6(V6, 58, nd(136, OTHER6, (TARGET_LINK, OWN)), destination=GATEWAY_LL),
        GuardReason.ND,
    ),
    "answering with another's MAC": (
        v6(V6, 58, nd(136, V6, (TARGET_LINK, FOREIGN)), destination=GATEWAY_LL),
        GuardReason.ND,
    ),
    "answering behind an extension": (
        v6(V6, 60, extension(58) + nd(136, OTHER6, (TARGET_LINK, OWN)), destination=GATEWAY_LL),
        GuardReason.ND,
    ),
    "answering in a fragment": (
        v6(V6, 44, fragment_header(58, 0, more=True) + nd(136, V6), destination=GATEWAY_LL),
        GuardReason.ND,
    ),
    "an option without length": (
        v6(V6, 58, nd(136, V6) + bytes(8), destination=GATEWAY_LL),
        GuardReason.MALFORMED,
    ),
    "advertising itself as router": (
        v6(OWN_LL, 58, icmp6(134) + bytes(8), destination=NODES),
        GuardReason.ND,
    ),
    "redirecting": (v6(OWN_LL, 58, icmp6(137) + bytes(32), destination=NODES), GuardReason.ND),
    "asking for routers": (v6(OWN_LL, 58, icmp6(133), destination=ROUTERS), GuardReason.NONE),
    "asking for routers, without address": (
        v6(ANY6, 58, icmp6(133), destination=ROUTERS),
        GuardReason.NONE,
    ),
    "joining a group, without address": (
        v6(ANY6, 0, ROUTER_ALERT + icmp6(143), destination=ROUTERS),
        GuardReason.NONE,
    ),
    "echo without address": (
        v6(ANY6, 58, icmp6(128), destination=ROUTERS),
        GuardReason.SOURCE_ADDRESS,
    ),
    "echo": (v6(V6, 58, icmp6(128)), GuardReason.NONE),
}


@pytest.mark.parametrize(("sent", "reason"), CASES.values(), ids=CASES.keys())
def test_a_pod_sends_as_itself_only(bench, sent, reason):
    assert bench.judge(sent) is reason
    assert guard_oracle.judge(GUARD, sent) is reason


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_program_and_oracle_agree_on_frames_that_are_cut_off_and_spoilt(bench, data):
    whole = bytearray(data.draw(st.sampled_from([sent for sent, _ in CASES.values()])))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
    # BPF_PROG_TEST_RUN takes no less than an Ethernet header, and a whole IP header behind it.
    need = {0x0800: 34, 0x86DD: 54}.get(int.from_bytes(whole[12:14], "big"), 14)
    sent = bytes(whole[: data.draw(st.integers(min(need, len(whole)), len(whole)))])
    if len(sent) < need:
        return

    assert bench.judge(sent) is guard_oracle.judge(GUARD, sent)


@pytest.mark.parametrize("sent", [v4(V4), v6(V6), arp(V4, V4)], ids=["ipv4", "ipv6", "arp"])
def test_nothing_leaves_a_link_of_which_nobody_says_whose_it_is(sent):
    with open_guard() as fresh:
        assert fresh.judge(sent) is GuardReason.UNKNOWN_LINK


@pytest.mark.parametrize("zero", [v4(IPv4Address(0)), arp(PROBE, PROBE)], ids=["ipv4", "arp"])
def test_a_pod_without_ipv4_has_no_ipv4_address_of_zero(zero):
    with open_guard() as single:
        single.own(replace(GUARD, addresses=IPPair(v6=V6)))

        assert single.judge(zero) is not GuardReason.NONE
        assert single.judge(v6(V6)) is GuardReason.NONE


def test_a_pod_without_ipv6_has_no_ipv6_address_of_zero():
    with open_guard() as single:
        single.own(replace(GUARD, addresses=IPPair(v4=V4)))

        assert single.judge(v6(ANY6)) is GuardReason.SOURCE_ADDRESS
        assert single.judge(v6(V6, 58, nd(136, ANY6))) is GuardReason.SOURCE_ADDRESS
        assert single.judge(v4(V4)) is GuardReason.NONE
