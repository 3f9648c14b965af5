"""What the fabric does with one packet: program and oracle agree, and on what is promised."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from terway.lab.vpc.contract import ROUTER_MAC, SERVICES_GATEWAY, SERVICES_MAC, DropReason, pack_mac
from terway.lab.vpc.oracle.fabric import Answered, Delivered, Dropped, Oracle, Outcome
from terway.lab.vpc.state import RouteEntry
from terway.model.ids import ENIId, VpcId, VSwitchId
from tests.support.agreement import agree
from tests.support.fabric_program import REDIRECT, SERVICES
from tests.support.frames import (
    ACK,
    BROADCAST,
    SYN,
    arp,
    echo,
    extension,
    fragment_header,
    frame,
    icmp_error,
    ip,
    ip_frame,
    ipv4,
    ipv6,
    solicitation,
    tcp,
    udp,
)
from tests.support.instances import (
    NODES,
    OPEN,
    PODS,
    VPC,
    allow,
    group,
    port,
    vpc_state,
    with_groups,
)

pytestmark = pytest.mark.root

A, B = port(10), port(11, vswitch=PODS)
A4, B4, A6, B6 = A.ipv4[0], B.ipv4[0], A.ipv6[0], B.ipv6[0]
GATEWAY, GATEWAY6 = NODES.cidr[-3], IPv6Address("2408:4005:100:1:ffff:ffff:ffff:fffd")
STATE = vpc_state(A, B)
WEB = group("sg-web", allow("::/0", protocol=6, ports=(80, 80)))
assert PODS.ipv6_cidr is not None
PODS_RANGE6 = IPv6Network((int(PODS.ipv6_cidr[77 << 48]), 80))
SERVICE = IPv4Address("100.100.100.200")
SERVICES_MAC_BYTES = pack_mac(SERVICES_MAC)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle(STATE)


@pytest.fixture
def fate(program, oracle):
    """Send a frame from A; return what program and oracle agree becomes of it."""
    program.load(STATE)
    return lambda sent, **more: agree(program, oracle, A.eni_id, sent, **more)


def dropped(reason: DropReason, at=A):
    return Dropped(at=at.eni_id, reason=reason)


# Prefixes


@pytest.fixture
def delegated(program):
    """Send a frame from an ENI with prefixes, or to one; program and oracle agree."""
    ranges = (IPv4Network((int(PODS.cidr[4096]), 28)), PODS_RANGE6)
    state = vpc_state(A, replace(B, prefixes=ranges))
    program.load(state)
    oracle = Oracle(state)
    return lambda sent, at=A: agree(program, oracle, at.eni_id, sent)


@pytest.mark.parametrize("offset", [0, 15])
def test_every_address_of_a_prefix_is_the_enis(delegated, offset):
    inner = PODS.cidr[4096 + offset]

    there = delegated(ip_frame(A, ip(A4, inner, 17, udp(1000, 2000))))
    back = delegated(ip_frame(B, ip(inner, A4, 17, udp(1000, 2000))), at=B)

    assert isinstance(there, Delivered)
    assert there.to == B.eni_id
    assert isinstance(back, Delivered)
    assert back.to == A.eni_id


def test_an_ipv6_prefix_is_the_enis_up_to_its_last_address(delegated):
    last, beyond = PODS_RANGE6[-1], PODS_RANGE6[-1] + 1

    assert isinstance(delegated(ip_frame(A, ip(A6, last, 17, udp(1000, 2000)))), Delivered)
    sent = ip_frame(A, ip(A6, beyond, 17, udp(1000, 2000)))
    assert delegated(sent) == dropped(DropReason.NO_ADDRESS)


def test_what_is_beside_a_prefix_is_nobodys(delegated):
    beside = PODS.cidr[4096 + 16]

    assert delegated(ip_frame(A, ip(A4, beside, 17, udp(1000, 2000)))) == dropped(
        DropReason.NO_ADDRESS
    )
    sent = ip_frame(B, ip(beside, A4, 17, udp(1000, 2000)))
    assert delegated(sent, at=B) == dropped(DropReason.SOURCE_ADDRESS, at=B)


# ARP and neighbour discovery


@pytest.mark.parametrize("sender", [A4, B4], ids=["own", "of another ENI"])
def test_a_node_may_ask_from_the_address_of_another_eni_of_its(fate, sender):
    assert isinstance(fate(arp(A, sender, GATEWAY)), Answered)


@pytest.mark.parametrize("target", [GATEWAY, NODES.cidr[77]], ids=["gateway", "any address"])
def test_arp_for_an_address_of_the_vswitch_is_answered_with_the_routers_mac(fate, target):
    outcome = fate(arp(A, A4, target))

    assert isinstance(outcome, Answered)
    assert outcome.frame[22:32] == bytes.fromhex("eeffffffffff") + target.packed


@pytest.mark.parametrize(
    ("request_frame", "reason"),
    [
        (arp(A, A4, A4), DropReason.UNANSWERED),
        (arp(A, "0.0.0.0", A4), DropReason.UNANSWERED),
        (arp(A, A4, PODS.cidr[9]), DropReason.UNANSWERED),
        (arp(A, A4, GATEWAY, operation=2), DropReason.UNANSWERED),
        (arp(replace(A, mac=B.mac), A4, GATEWAY), DropReason.SOURCE_MAC),
        (arp(A, A4, GATEWAY)[:41], DropReason.MALFORMED),
        (arp(A, A4, GATEWAY)[:18] + b"\x08\x04" + bytes(22), DropReason.MALFORMED),
    ],
    ids=[
        "announcement",
        "probe",
        "other vSwitch",
        "reply",
        "stolen MAC",
        "cut",
        "hlen",
    ],
)
def test_arp_that_nobody_may_ask_is_dropped_and_counted(fate, request_frame, reason):
    assert fate(request_frame) == dropped(reason)


def test_the_arp_headers_sender_mac_must_be_the_enis_too(fate):
    forged = bytearray(arp(A, A4, GATEWAY))
    forged[22:28] = bytes(6)

    assert fate(bytes(forged)) == dropped(DropReason.SOURCE_MAC)


@pytest.mark.parametrize(
    "source",
    [A6, IPv6Address("fe80::216:3eff:fe00:a"), B6],
    ids=["own", "link-local", "of another ENI"],
)
def test_neighbour_solicitation_is_answered_with_a_valid_checksum(fate, source):
    outcome = fate(solicitation(A, source, GATEWAY6))

    assert isinstance(outcome, Answered)
    assert outcome.frame[54:56] == b"\x88\x00"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (solicitation(A, IPv6Address("::"), A6), DropReason.UNANSWERED),
        (solicitation(A, A6, A6), DropReason.UNANSWERED),
        (solicitation(A, A6, B6), DropReason.UNANSWERED),
        (solicitation(A, A6, GATEWAY6, hop_limit=254), DropReason.MALFORMED),
        (solicitation(A, A6, GATEWAY6)[:70], DropReason.MALFORMED),
        (ip_frame(A, ipv6(A6, B6, 58, b"\x88" + bytes(23), hop_limit=255)), DropReason.UNANSWERED),
        (ip_frame(A, ipv6(A6, B6, 58, b"\x85" + bytes(7), hop_limit=255)), DropReason.UNANSWERED),
    ],
    ids=["DAD", "itself", "other vSwitch", "hop limit", "cut", "advertisement", "RS"],
)
def test_discovery_that_nobody_may_ask_is_dropped_and_counted(fate, sent, reason):
    assert fate(sent) == dropped(reason)


# The gateway


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_the_gateway_answers_echo_requests(fate, v6):
    packet = (
        ipv6(A6, GATEWAY6, 58, echo(5, v6=True, payload=b"x" * 57))
        if v6
        else ipv4(A4, GATEWAY, 1, echo(5, payload=b"x" * 57))
    )

    assert isinstance(fate(ip_frame(A, packet)), Answered)


def test_the_gateway_answers_nothing_else(fate):
    for transport in (tcp(1, 2), udp(1, 2)):
        packet = ipv4(A4, GATEWAY, 6 if len(transport) == 20 else 17, transport)
        assert fate(ip_frame(A, packet)) == dropped(DropReason.GATEWAY)


# Delivery


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("transport", [(6, tcp(1, 80)), (17, udp(1, 53)), (132, b"sctp" * 3)])
def test_a_packet_changes_nothing_but_its_macs(fate, source, destination, transport):
    sent = ip_frame(A, ip(source, destination, *transport))

    outcome = fate(sent)

    assert isinstance(outcome, Delivered)
    assert outcome.frame[14:] == sent[14:]
    assert outcome.frame[:12] == bytes.fromhex("00163e00000beeffffffffff")


def test_a_padded_frame_is_delivered_with_its_padding(fate):
    sent = ip_frame(A, ipv4(A4, B4, 17, udp(1, 2, b""))) + bytes(18)

    assert isinstance(fate(sent), Delivered)


def test_options_and_extension_headers_do_not_hide_the_ports(fate):
    options = b"\x01" * 40
    authentication = b"\x06\x01" + bytes(10)  # its length is in words, less two
    chain = extension(60) + extension(43, length=1) + extension(51) + authentication + tcp(1, 80)

    assert isinstance(fate(ip_frame(A, ipv4(A4, B4, 6, tcp(1, 80), options=options))), Delivered)
    assert isinstance(fate(ip_frame(A, ipv6(A6, B6, 0, chain))), Delivered)


def test_the_ports_behind_an_authentication_header_are_those_the_rules_see(program):
    state = vpc_state(A, with_groups(B, WEB), groups=(OPEN, WEB))
    program.load(state)
    authentication = b"\x06\x01" + bytes(10)  # its length is in words, less two

    for number, kind in ((80, Delivered), (81, Dropped)):
        sent = ip_frame(A, ipv6(A6, B6, 51, authentication + tcp(1, number)))
        assert isinstance(agree(program, Oracle(state), A.eni_id, sent), kind)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frame(A, 0x8100, b"\x00\x05\x08\x00" + ipv4(A4, B4, 17, udp(1, 2))), DropReason.VLAN),
        (frame(A, 0x88A8, bytes(50)), DropReason.VLAN),
        (frame(A, 0x88CC, bytes(50)), DropReason.ETHERTYPE),
        (ip_frame(A, ipv4(A4, B4, 17, udp(1, 2)), destination=BROADCAST), DropReason.MULTICAST),
        (ip_frame(A, ipv4(A4, IPv4Address("224.0.0.5"), 17, udp(1, 2))), DropReason.MULTICAST),
        (
            ip_frame(A, ipv4(A4, IPv4Address("255.255.255.255"), 17, udp(68, 67))),
            DropReason.MULTICAST,
        ),
        (ip_frame(A, ipv6(A6, IPv6Address("ff02::16"), 17, udp(1, 2))), DropReason.MULTICAST),
        (
            ip_frame(A, ipv4(A4, B4, 17, udp(1, 2)), destination=b"\x02" * 6),
            DropReason.DESTINATION_MAC,
        ),
        (ip_frame(replace(A, mac=B.mac), ipv4(A4, B4, 17, udp(1, 2))), DropReason.SOURCE_MAC),
        (ip_frame(A, ipv4(NODES.cidr[12], B4, 17, udp(1, 2))), DropReason.SOURCE_ADDRESS),
        (ip_frame(A, ipv6(IPv6Address("fe80::1"), B6, 17, udp(1, 2))), DropReason.SOURCE_ADDRESS),
        (ip_frame(A, ipv4(A4, PODS.cidr[99], 17, udp(1, 2))), DropReason.NO_ADDRESS),
        (ip_frame(A, ipv4(A4, IPv4Address("8.8.8.8"), 17, udp(1, 2))), DropReason.NO_ROUTE),
        (ip_frame(A, ipv6(A6, IPv6Address("2001:db8::1"), 17, udp(1, 2))), DropReason.NO_ROUTE),
        (ip_frame(A, ipv4(A4, A4, 17, udp(1, 2))), DropReason.HAIRPIN),
    ],
)
def test_what_cannot_go_on_is_dropped_with_its_reason(fate, sent, reason):
    assert fate(sent) == dropped(reason)


def test_a_frame_with_a_tag_that_the_kernel_took_out_is_dropped_too(program):
    """The kernel moves the tag from the frame into the skb before tc sees it (skb_vlan_untag)."""
    program.load(STATE)
    tagged = frame(A, 0x8100, b"\x00\x05\x08\x00" + ipv4(A4, B4, 17, udp(1, 2)))

    assert program.send(A.eni_id, tagged).drops == ((A.eni_id, DropReason.VLAN),)


GOOD = [
    ip_frame(A, ipv4(A4, B4, 6, tcp(1, 80), options=b"\x01" * 4)),
    ip_frame(A, ipv4(A4, B4, 17, udp(1, 2))),
    ip_frame(A, ipv4(A4, B4, 1, echo(3))),
    ip_frame(A, ipv6(A6, B6, 6, tcp(1, 80))),
    ip_frame(A, ipv6(A6, B6, 0, extension(60) + extension(17) + udp(1, 2))),
    ip_frame(A, ipv6(A6, B6, 44, fragment_header(17, 0, more=True) + udp(1, 2))),
]


@pytest.mark.parametrize("good", GOOD)
def test_no_truncated_packet_gets_through(fate, good):
    shortest = 14 + (20 if good[12] == 8 else 40)  # BPF_PROG_TEST_RUN takes no less

    fates = [fate(good[:length]) for length in range(shortest, len(good))]

    assert {type(one) for one in fates} == {Dropped}


@pytest.mark.parametrize("good", GOOD)
def test_program_and_oracle_agree_when_any_byte_of_the_headers_is_changed(fate, good):
    for at in range(min(len(good), 78)):
        for value in (0, 1, 0x0F, 0x40, 0x60, 0x7F, 0xFF):
            fate(good[:at] + bytes((value,)) + good[at + 1 :])


# Fragments


def fragments(v6: bool) -> tuple[bytes, bytes]:
    whole = udp(1, 2, b"x" * 40)
    if v6:
        first = fragment_header(17, 0, more=True) + whole[:24]
        later = fragment_header(17, 24, more=False) + whole[24:]
        return (
            ip_frame(A, ipv6(A6, B6, 44, first)),
            ip_frame(A, ipv6(A6, B6, 44, later)),
        )
    return (
        ip_frame(A, ipv4(A4, B4, 17, whole[:24], fragment=0x2000)),
        ip_frame(A, ipv4(A4, B4, 17, whole[24:], fragment=3)),
    )


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_later_fragments_follow_their_first(fate, v6):
    first, later = fragments(v6)

    assert isinstance(fate(first), Delivered)
    assert isinstance(fate(later), Delivered)


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_a_later_fragment_alone_is_dropped(fate, v6):
    _, later = fragments(v6)

    assert fate(later) == dropped(DropReason.FRAGMENT)


# Size


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_a_packet_above_the_receivers_mtu_is_answered_with_what_fits(program, v6):
    state = vpc_state(replace(A, mtu_bytes=9000), B)
    program.load(state)
    payload = udp(1, 2, b"x" * 1600)
    packet = ipv6(A6, B6, 17, payload) if v6 else ipv4(A4, B4, 17, payload)

    outcome = agree(program, Oracle(state), A.eni_id, ip_frame(A, packet))

    assert isinstance(outcome, Answered)
    assert outcome.reason is DropReason.TOO_BIG
    mtu_at = 14 + (40 if v6 else 20) + 4
    assert struct.unpack_from("!I", outcome.frame, mtu_at) == (1500,)


def test_a_large_gso_packet_passes_when_its_segments_fit(fate):
    packet = ipv4(A4, B4, 6, tcp(1, 80, payload=b"x" * 2800))

    assert isinstance(fate(ip_frame(A, packet), gso_size=1460), Delivered)
    assert isinstance(fate(ip_frame(A, packet), gso_size=1461), Answered)


def test_too_big_is_not_said_about_an_error(program):
    state = vpc_state(replace(A, mtu_bytes=9000), B)
    program.load(state)
    error = icmp_error(ipv4(B4, A4, 17, udp(1, 2, b"x" * 1600)))

    outcome = agree(program, Oracle(state), A.eni_id, ip_frame(A, ipv4(A4, B4, 1, error)))

    assert outcome == dropped(DropReason.TOO_BIG)


# Routes, VPCs, source check


def test_a_custom_route_leads_to_its_next_hop_whose_answers_have_foreign_sources(program):
    far = IPv4Address("10.1.2.3")
    router = replace(B, source_check=False)
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("10.0.0.0/8"), next_hop=router.eni_id)
    state = replace(vpc_state(A, router), routes=(route,))
    program.load(state)
    oracle = Oracle(state)

    there = agree(program, oracle, A.eni_id, ip_frame(A, ipv4(A4, far, 17, udp(1, 2))))
    back = agree(program, oracle, B.eni_id, ip_frame(B, ipv4(far, A4, 17, udp(2, 1))))

    assert isinstance(there, Delivered)
    assert there.to == B.eni_id
    assert isinstance(back, Delivered)


def test_the_longest_custom_route_wins_and_a_vswitch_is_not_hidden_by_a_default_route(program):
    c = port(12, source_check=False)
    routes = tuple(
        RouteEntry(vpc_id=VPC, destination=IPv4Network(cidr), next_hop=hop.eni_id)
        for cidr, hop in (("0.0.0.0/0", c), ("10.0.0.0/8", B), ("10.1.0.0/16", c))
    )
    state = replace(vpc_state(A, B, c), routes=routes)
    program.load(state)
    oracle = Oracle(state)

    def way(destination: str) -> Outcome:
        packet = ipv4(A4, IPv4Address(destination), 17, udp(1, 2))
        return agree(program, oracle, A.eni_id, ip_frame(A, packet))

    ways = [way("10.1.2.3"), way("10.2.2.3"), way("8.8.8.8")]
    assert [one.to for one in ways if isinstance(one, Delivered)] == [c.eni_id, B.eni_id, c.eni_id]
    assert way(str(PODS.cidr[99])) == dropped(DropReason.NO_ADDRESS)


def test_vpcs_with_the_same_addresses_do_not_see_each_other(program):
    vswitch = replace(NODES, vpc_id=VpcId("vpc-2"), id=VSwitchId("vsw-other"))
    twin = replace(port(10, vswitch=vswitch, groups=()), eni_id=ENIId("eni-twin"), mac=port(20).mac)
    state = vpc_state(A, B, replace(twin, ifname="eth1"), vswitches=(NODES, PODS, vswitch))
    program.load(state)

    sent = ip_frame(twin, ipv4(A4, B4, 17, udp(1, 2)))

    assert agree(program, Oracle(state), twin.eni_id, sent) == dropped(DropReason.NO_ROUTE, twin)


# Services


def test_a_service_is_reached_past_all_groups_and_its_answer_comes_back(program):
    shut = replace(group("sg-shut", inner_access=False), is_enterprise=True)
    a = replace(A, security_group_ids=(shut.id,))
    state = replace(vpc_state(a, B, groups=(shut, OPEN)), services=(SERVICE,))
    program.load(state)

    asked = ip_frame(a, ipv4(A4, SERVICE, 6, tcp(1025, 80)))
    there = agree(program, Oracle(state), a.eni_id, asked)
    answer = ipv4(SERVICE, A4, 6, tcp(80, 1025, flags=SYN | ACK))
    back = program.send(SERVICES, from_services(answer))

    assert there == Delivered(to=None, frame=SERVICES_MAC_BYTES + asked[:6] + asked[12:])
    assert (back.verdict, back.delivered_to) == (REDIRECT, (a.eni_id,))
    assert back.frame == pack_mac(a.mac) + asked[:6] + b"\x08\x00" + answer


def test_an_answer_that_is_too_big_for_its_client_is_refused_by_the_router(program):
    state = replace(vpc_state(replace(A, mtu_bytes=600)), services=(SERVICE,))
    program.load(state)
    program.send(A.eni_id, ip_frame(A, ipv4(A4, SERVICE, 17, udp(1025, 53))))

    large = program.send(SERVICES, from_services(ipv4(SERVICE, A4, 17, udp(53, 1025, b"x" * 700))))

    assert large.drops == ((SERVICES, DropReason.TOO_BIG),)
    assert large.answered_at == (SERVICES,)
    assert large.frame[26:34] == SERVICES_GATEWAY.packed + SERVICE.packed


def test_services_speak_only_when_spoken_to(program):
    program.load(replace(STATE, services=(SERVICE,)))

    unasked = program.send(SERVICES, from_services(ipv4(SERVICE, A4, 17, udp(53, 1))))

    assert unasked.drops == ((SERVICES, DropReason.NO_ROUTE),)


def from_services(packet: bytes) -> bytes:
    return pack_mac(ROUTER_MAC) + SERVICES_MAC_BYTES + b"\x08\x00" + packet
