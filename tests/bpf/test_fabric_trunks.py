"""What the fabric does with one tagged frame: program and oracle agree, and on what is promised.

The tag that the program puts on is beside the frame, and not to be seen here: that it is the right
one is proved with real packets, in tests/lab/test_vpc_trunks.py.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from terway.lab.vpc.contract import ROUTER_MAC, SERVICES_MAC, DropReason, pack_mac
from terway.lab.vpc.oracle.fabric import Answered, Delivered, Dropped, Oracle, with_tag
from terway.lab.vpc.state import Balancer, Listener
from tests.support.agreement import agree
from tests.support.fabric_program import SERVICES
from tests.support.frames import (
    arp,
    echo,
    fragment_header,
    ip,
    ip_frame,
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
    member,
    port,
    vpc_state,
    with_groups,
)

pytestmark = pytest.mark.root

A, TRUNK = port(10), port(20, vswitch=PODS)
ONE, TWO = member(31, TRUNK, 1), member(32, TRUNK, 4094, vswitch=NODES)
STATE = vpc_state(A, TRUNK, ONE, TWO)
A4, ONE4, TWO4 = A.ipv4[0], ONE.ipv4[0], TWO.ipv4[0]
GATEWAY = PODS.cidr[-3]
assert PODS.ipv6_cidr is not None
GATEWAY6 = PODS.ipv6_cidr[-3]
SERVICE = IPv4Address("100.100.100.200")


@pytest.fixture
def oracle(program) -> Oracle:
    program.load(STATE)
    return Oracle(STATE)


@pytest.fixture
def fate(program, oracle):
    """Send a frame by the trunk's link, with the tag of a member; return what is agreed."""
    return lambda frame, eni=ONE: agree(program, oracle, TRUNK.eni_id, with_tag(frame, eni.vlan_id))


def dropped(reason: DropReason, at=TRUNK):
    return Dropped(at=at.eni_id, reason=reason)


def datagram(sender, destination, *, source=None):
    return ip_frame(sender, ip(source or sender.ipv4[0], destination, 17, udp(1000, 2000)))


def test_a_tagged_frame_is_its_members(fate):
    outcome = fate(datagram(ONE, A4))

    assert outcome == Delivered(
        to=A.eni_id, frame=pack_mac(A.mac) + pack_mac(ROUTER_MAC) + datagram(ONE, A4)[12:]
    )


def test_a_frame_to_a_member_has_its_mac_and_its_tag(program, oracle):
    outcome = agree(program, oracle, A.eni_id, datagram(A, TWO4))

    assert isinstance(outcome, Delivered)
    assert outcome.to == TWO.eni_id
    assert outcome.frame[:6] == pack_mac(TWO.mac)
    assert outcome.frame[12:16] == b"\x81\x00\x0f\xfe"


def test_members_of_one_trunk_reach_each_other(fate):
    assert isinstance(there := fate(datagram(ONE, TWO4)), Delivered)
    assert there.to == TWO.eni_id
    assert isinstance(back := fate(datagram(TWO, ONE4), TWO), Delivered)
    assert back.to == ONE.eni_id


def test_an_untagged_frame_is_the_trunks_own(program, oracle):
    sent = datagram(TRUNK, A4)

    assert isinstance(agree(program, oracle, TRUNK.eni_id, sent), Delivered)
    assert agree(program, oracle, TRUNK.eni_id, datagram(ONE, A4)) == dropped(DropReason.SOURCE_MAC)


@pytest.mark.parametrize("tag", [0, 2, 4095])
def test_a_tag_that_is_nobodys_is_dropped_and_counts_at_the_trunk(program, oracle, tag):
    sent = with_tag(datagram(ONE, A4), tag)

    assert agree(program, oracle, TRUNK.eni_id, sent) == dropped(DropReason.VLAN)


def test_a_tag_on_a_port_that_is_no_trunk_is_dropped(program, oracle):
    sent = with_tag(datagram(A, ONE4), ONE.vlan_id)

    assert agree(program, oracle, A.eni_id, sent) == dropped(DropReason.VLAN, at=A)


def test_the_priority_in_a_tag_does_not_matter(program, oracle):
    sent = with_tag(datagram(ONE, A4), 7 << 13 | ONE.vlan_id)

    assert isinstance(agree(program, oracle, TRUNK.eni_id, sent), Delivered)


def test_two_tags_are_dropped(fate):
    assert fate(with_tag(datagram(ONE, A4), TWO.vlan_id)) == dropped(DropReason.VLAN, at=ONE)


def test_a_tag_of_a_providers_bridge_is_dropped(program, oracle):
    sent = with_tag(datagram(ONE, A4), ONE.vlan_id)
    sent = sent[:12] + b"\x88\xa8" + sent[14:]

    assert agree(program, oracle, TRUNK.eni_id, sent) == dropped(DropReason.VLAN)


def test_a_member_sends_with_its_own_mac_and_addresses_only(fate):
    assert fate(datagram(TWO, A4)) == dropped(DropReason.SOURCE_MAC, at=ONE)
    assert fate(datagram(ONE, A4, source=TWO4)) == dropped(DropReason.SOURCE_ADDRESS, at=ONE)
    own = TRUNK.ipv4[0]
    assert fate(datagram(ONE, A4, source=own)) == dropped(DropReason.SOURCE_ADDRESS, at=ONE)


def test_arp_and_neighbour_solicitations_are_answered_behind_the_tag(fate):
    asked = arp(ONE, ONE4, GATEWAY)
    asked6 = solicitation(ONE, ONE.ipv6[0], GATEWAY6)

    for answer in (fate(asked), fate(asked6)):
        assert isinstance(answer, Answered)
        assert answer.at == ONE.eni_id
        assert answer.frame[12:16] == b"\x81\x00\x00\x01"
    other = arp(ONE, ONE4, NODES.cidr[-3])  # of the other vSwitch
    assert fate(other) == dropped(DropReason.UNANSWERED, at=ONE)


def test_the_gateway_answers_a_members_echo_request(fate):
    answer = fate(ip_frame(ONE, ip(ONE4, GATEWAY, 1, echo(7))))

    assert isinstance(answer, Answered)
    assert answer.at == ONE.eni_id


def test_each_member_is_judged_by_its_own_groups(program):
    web = group("sg-web", allow(OPEN, protocol=6, ports=(80, 80)), inner_access=False)
    state = vpc_state(A, TRUNK, with_groups(ONE, web), TWO, groups=(OPEN, web))
    program.load(state)
    oracle = Oracle(state)

    def ask(sender, destination, number):
        sent = ip_frame(sender, ip(sender.ipv4[0], destination, 6, tcp(1000, number)))
        return agree(program, oracle, sender.eni_id, sent)

    assert isinstance(ask(A, ONE4, 80), Delivered)
    assert ask(A, ONE4, 81) == dropped(DropReason.INGRESS, at=ONE)
    assert isinstance(ask(A, TWO4, 81), Delivered)
    assert isinstance(ask(TRUNK, ONE4, 80), Delivered)


def test_a_packet_too_big_for_a_member_is_answered_to_its_sender(program):
    state = vpc_state(A, TRUNK, ONE, replace(TWO, mtu_bytes=600))
    program.load(state)
    oracle = Oracle(state)
    large = udp(1000, 2000, bytes(700))

    answer = agree(program, oracle, A.eni_id, ip_frame(A, ip(A4, TWO4, 17, large)))
    tagged = with_tag(ip_frame(ONE, ip(ONE4, TWO4, 17, large)), ONE.vlan_id)
    behind = agree(program, oracle, TRUNK.eni_id, tagged)
    tagged6 = with_tag(ip_frame(ONE, ip(ONE.ipv6[0], TWO.ipv6[0], 17, large)), ONE.vlan_id)
    behind6 = agree(program, oracle, TRUNK.eni_id, tagged6)

    for one, at in ((answer, A), (behind, ONE), (behind6, ONE)):
        assert isinstance(one, Answered)
        assert (one.at, one.reason) == (at.eni_id, DropReason.TOO_BIG)


def test_a_bare_tag_is_dropped(program, oracle):
    short = (ROUTER_MAC, ONE.mac)
    sent = b"".join(map(pack_mac, short)) + b"\x81\x00" + bytes(20)

    assert agree(program, oracle, TRUNK.eni_id, sent) == dropped(DropReason.VLAN)


def test_fragments_of_members_are_kept_apart(fate):
    head = fragment_header(17, 0, more=True) + udp(1000, 2000)
    rest = fragment_header(17, 16, more=False) + bytes(8)

    def piece(sender, body):
        return ip_frame(sender, ipv6(sender.ipv6[0], A.ipv6[0], 44, body))

    assert fate(piece(ONE, rest)) == dropped(DropReason.FRAGMENT, at=ONE)
    assert isinstance(fate(piece(ONE, head)), Delivered)
    assert isinstance(fate(piece(ONE, rest)), Delivered)
    assert fate(piece(TWO, rest), TWO) == dropped(DropReason.FRAGMENT, at=TWO)


def test_a_service_answers_the_member_that_asked(program):
    state = replace(STATE, services=(SERVICE,))
    program.load(state)
    oracle = Oracle(state)
    asked = with_tag(ip_frame(ONE, ip(ONE4, SERVICE, 6, tcp(1000, 80))), ONE.vlan_id)
    there = agree(program, oracle, TRUNK.eni_id, asked)
    assert isinstance(there, Delivered)
    assert there.to is None

    services = replace(TRUNK, mac=SERVICES_MAC)
    answer = ip_frame(services, ip(SERVICE, ONE4, 6, tcp(80, 1000, flags=0x12)))

    assert program.send(SERVICES, answer).delivered_to == (ONE.eni_id,)


def test_a_load_balancer_forwards_to_a_member_and_gives_its_answers_its_own_address(program):
    address = IPv4Address("192.168.255.1")
    listener = Listener(protocol=6, port=80, backend_port=8080, backends=(ONE4,))
    balancer = Balancer(vpc_id=VPC, address=address, listeners=(listener,), members=(ONE4,))
    state = replace(STATE, balancers=(balancer,))
    program.load(state)
    oracle = Oracle(state)

    asked = ip_frame(A, ip(A4, address, 6, tcp(1000, 80)))
    there = agree(program, oracle, A.eni_id, asked)
    answered = with_tag(ip_frame(ONE, ip(ONE4, A4, 6, tcp(8080, 1000, flags=0x12))), 1)
    back = agree(program, oracle, TRUNK.eni_id, answered)

    assert isinstance(there, Delivered)
    assert there.to == ONE.eni_id
    assert isinstance(back, Delivered)
    assert back.frame[26:30] == address.packed
