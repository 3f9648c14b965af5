"""What a load balancer's address does with packets: program and oracle agree, both ways."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from terway.lab.vpc.contract import ROUTER_MAC, SERVICES_MAC, DropReason, pack_mac
from terway.lab.vpc.oracle.answers import checksum
from terway.lab.vpc.oracle.fabric import Answered, Delivered, Dropped, Oracle, Outcome
from terway.lab.vpc.oracle.packet import parse_packet
from terway.lab.vpc.state import (
    Access,
    Balancer,
    Listener,
    Port,
    Prober,
    RouteEntry,
    Server,
    VpcState,
)
from terway.model.address import Family, IPAddress
from tests.support.agreement import agree
from tests.support.fabric_program import REDIRECT, SERVICES
from tests.support.frames import (
    ACK,
    RST,
    SYN,
    echo,
    fragment_header,
    icmp_error,
    ip,
    ip_frame,
    ipv4,
    tcp,
    udp,
)
from tests.support.instances import VPC, group, port, vpc_state

pytestmark = pytest.mark.root

CLIENT, NODE1, NODE2, OUTSIDE = port(10), port(11), port(12), port(13, source_check=False)
VIP4, VIP6 = IPv4Address("192.168.255.1"), IPv6Address("2408:4005:100:fff::1")
PROBER = IPv4Address("100.100.0.30")
FAR = IPv4Address("203.0.113.7")
FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
PROTOCOLS = pytest.mark.parametrize("protocol", [6, 17], ids=["TCP", "UDP"])


def address(eni: Port, v6: bool) -> IPAddress:
    return eni.ipv6[0] if v6 else eni.ipv4[0]


def vip(v6: bool) -> IPAddress:
    return VIP6 if v6 else VIP4


def balancer(v6: bool, *healthy: Port, members: tuple[Port, ...] = (NODE1, NODE2)) -> Balancer:
    backends = tuple(address(one, v6) for one in healthy)
    return Balancer(
        vpc_id=VPC,
        address=vip(v6),
        listeners=tuple(
            Listener(protocol=number, port=80, backend_port=30080, backends=backends)
            for number in (6, 17)
        ),
        members=tuple(address(one, v6) for one in members),
    )


def state_of(*balancers: Balancer, ports: tuple[Port, ...] = (CLIENT, NODE1, NODE2)) -> VpcState:
    return replace(vpc_state(*ports), balancers=balancers)


BOTH = (balancer(False, NODE1, NODE2), balancer(True, NODE1, NODE2))


class World:
    """Program and oracle, with one state."""

    def __init__(self, program, state: VpcState) -> None:
        self.program = program
        self.oracle = Oracle(state)
        program.load(state)

    def become(self, state: VpcState) -> None:
        self.oracle.state = state
        self.program.load(state)

    def send(self, eni: Port, packet: bytes, **more: int) -> Outcome:
        return agree(self.program, self.oracle, eni.eni_id, ip_frame(eni, packet), **more)


@pytest.fixture
def world(program) -> World:
    return World(program, state_of(*BOTH))


def segment(protocol: int, source: int, destination: int, flags: int = SYN) -> bytes:
    made = tcp(source, destination, flags=flags) if protocol == 6 else udp(source, destination)
    return bytes(made)


def valid(source: IPAddress, destination: IPAddress, protocol: int, transport: bytes) -> bytes:
    """A packet with the right transport checksum."""
    at = 16 if protocol == 6 else 6
    bare = transport[:at] + b"\0\0" + transport[at + 2 :]
    pseudo = source.packed + destination.packed + struct.pack("!II", len(bare), protocol)
    summed = checksum(pseudo + bare).to_bytes(2, "big")
    return bytes(ip(source, destination, protocol, bare[:at] + summed + bare[at + 2 :]))


def is_valid(frame: bytes) -> bool:
    family = Family.V4 if frame[12] == 8 else Family.V6
    packet = parse_packet(frame[14:], family)
    transport = packet.data[packet.transport :]
    pseudo = packet.source.packed + packet.destination.packed
    pseudo += struct.pack("!II", len(transport), packet.protocol)
    header_is_valid = family is Family.V6 or checksum(frame[14:34]) == 0
    return header_is_valid and checksum(pseudo + transport) == 0


def valid_icmp(source: IPAddress, destination: IPAddress, message: bytes) -> bytes:
    """An ICMP message with the right checksum."""
    protocol = 58 if source.version == 6 else 1
    bare = message[:2] + b"\0\0" + message[4:]
    pseudo = source.packed + destination.packed + struct.pack("!II", len(bare), protocol)
    summed = checksum((pseudo if source.version == 6 else b"") + bare).to_bytes(2, "big")
    return bytes(ip(source, destination, protocol, bare[:2] + summed + bare[4:]))


def is_valid_icmp(frame: bytes) -> bool:
    if frame[12] == 8:
        inner = frame[14 + 20 + 8 :]
        return checksum(frame[34:]) == 0 and checksum(inner[:20]) == 0
    pseudo = frame[22:54] + struct.pack("!II", len(frame) - 54, 58)
    return checksum(pseudo + frame[54:]) == 0


def ends(frame: bytes) -> tuple[IPAddress, int, IPAddress, int]:
    packet = parse_packet(frame[14:], Family.V4 if frame[12] == 8 else Family.V6)
    return packet.source, packet.source_port, packet.destination, packet.destination_port


def dropped(reason: DropReason, at: Port = CLIENT) -> Dropped:
    return Dropped(at=at.eni_id, reason=reason)


@FAMILIES
@PROTOCOLS
def test_a_packet_goes_to_a_backend_with_its_clients_address_and_the_answer_comes_from_the_vip(
    world, v6, protocol
):
    client = address(CLIENT, v6)
    there = world.send(CLIENT, valid(client, vip(v6), protocol, segment(protocol, 5000, 80)))

    assert isinstance(there, Delivered)
    node = next(one for one in (NODE1, NODE2) if one.eni_id == there.to)
    assert ends(there.frame) == (client, 5000, address(node, v6), 30080)
    assert is_valid(there.frame)

    answer = segment(protocol, 30080, 5000, SYN | ACK)
    back = world.send(node, valid(address(node, v6), client, protocol, answer))

    assert isinstance(back, Delivered)
    assert back.to == CLIENT.eni_id
    assert ends(back.frame) == (vip(v6), 80, client, 5000)
    assert is_valid(back.frame)


@PROTOCOLS
def test_connections_are_spread_and_each_keeps_its_backend(world, protocol):
    first = {number: way(world, protocol, number, SYN) for number in range(5000, 5032)}
    later = {number: way(world, protocol, number, ACK) for number in range(5000, 5032)}

    assert set(first.values()) == {NODE1.eni_id, NODE2.eni_id}
    assert later == first


def test_a_tcp_connection_stays_at_a_node_that_drains(world):
    first = {number: way(world, 6, number, SYN) for number in range(5000, 5016)}
    world.become(state_of(balancer(False, NODE1)))

    assert {number: way(world, 6, number, ACK) for number in range(5000, 5016)} == first


def test_datagrams_do_not_go_on_to_a_node_that_is_not_healthy(world):
    """bug class 39: who sends on and on from one port is not sent into a hole."""
    for number in range(5000, 5016):
        way(world, 17, number, SYN)
    world.become(state_of(balancer(False, NODE1)))

    assert {way(world, 17, number, SYN) for number in range(5000, 5016)} == {NODE1.eni_id}


def way(world: World, protocol: int, number: int, flags: int) -> object:
    """Where a client's packet goes, of the connection from this port."""
    packet = ip(CLIENT.ipv4[0], VIP4, protocol, segment(protocol, number, 80, flags))
    outcome = world.send(CLIENT, packet)
    assert isinstance(outcome, Delivered)
    return outcome.to


def test_a_new_connection_from_the_same_port_asks_who_is_healthy_now(world):
    for number in range(5000, 5016):
        world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(number, 80)))
    world.become(state_of(balancer(False, NODE1)))

    ways = [world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(n, 80))) for n in range(5000, 5016)]

    assert {way.to for way in ways if isinstance(way, Delivered)} == {NODE1.eni_id}


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        ((6, tcp(5000, 81)), DropReason.NO_LISTENER),
        ((132, b"sctp" * 3), DropReason.NO_LISTENER),
        ((6, tcp(5000, 80)), DropReason.NO_BACKEND),
    ],
)
def test_a_port_that_is_closed_or_has_nobody_healthy_drops(program, transport, reason):
    world = World(program, state_of(balancer(False)))

    assert world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, *transport)) == dropped(reason)


@FAMILIES
def test_the_address_answers_echo_requests(world, v6):
    protocol = 58 if v6 else 1
    packet = ip(address(CLIENT, v6), vip(v6), protocol, echo(5, v6=v6))

    assert isinstance(world.send(CLIENT, packet), Answered)


def test_a_node_that_is_sent_to_itself_is_told_nothing(program):
    world = World(program, state_of(balancer(False, NODE1)))

    assert world.send(NODE1, ip(NODE1.ipv4[0], VIP4, 6, tcp(1, 80))) == dropped(
        DropReason.HAIRPIN, NODE1
    )


def test_a_backend_without_a_port_is_nobody(program):
    gone = port(40)
    world = World(program, state_of(balancer(False, gone, members=(gone,))))

    assert world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(1, 80))) == dropped(
        DropReason.NO_BACKEND
    )


def test_the_clients_groups_are_asked_and_the_backends_are_not(program):
    shut = replace(group("sg-shut", inner_access=False), is_enterprise=True)
    node = replace(NODE1, security_group_ids=(shut.id,))
    state = state_of(balancer(False, node), ports=(CLIENT, node))
    world = World(program, replace(state, security_groups=(*state.security_groups, shut)))

    assert isinstance(world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(1, 80))), Delivered)
    back = world.send(node, ip(node.ipv4[0], CLIENT.ipv4[0], 6, tcp(30080, 1, flags=SYN | ACK)))
    assert isinstance(back, Delivered)

    client = replace(CLIENT, security_group_ids=(shut.id,))
    shut_in = replace(state, ports=(client, node), security_groups=(*state.security_groups, shut))
    world.become(shut_in)
    assert world.send(client, ip(CLIENT.ipv4[0], VIP4, 6, tcp(2, 80))) == dropped(DropReason.EGRESS)


def test_a_client_outside_of_the_vpc_is_seen_with_its_own_address(program):
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("0.0.0.0/0"), next_hop=OUTSIDE.eni_id)
    state = state_of(balancer(False, NODE1), ports=(CLIENT, NODE1, OUTSIDE))
    world = World(program, replace(state, routes=(route,)))

    there = world.send(OUTSIDE, valid(FAR, VIP4, 6, tcp(5000, 80)))
    answer = valid(NODE1.ipv4[0], FAR, 6, tcp(30080, 5000, flags=SYN | ACK))
    back = world.send(NODE1, answer)

    assert isinstance(there, Delivered)
    assert ends(there.frame) == (FAR, 5000, NODE1.ipv4[0], 30080)
    assert isinstance(back, Delivered)
    assert (back.to, ends(back.frame)) == (OUTSIDE.eni_id, (VIP4, 80, FAR, 5000))


def test_what_a_node_sends_by_itself_keeps_its_source(world):
    alone = world.send(NODE1, ip(NODE1.ipv4[0], CLIENT.ipv4[0], 17, udp(30080, 5000)))

    assert isinstance(alone, Delivered)
    assert ends(alone.frame)[:2] == (NODE1.ipv4[0], 30080)


def test_a_connection_to_the_node_itself_from_the_same_port_is_answered_by_the_node(program):
    world = World(program, state_of(balancer(False, NODE1)))
    world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(5000, 80)))

    world.send(CLIENT, ip(CLIENT.ipv4[0], NODE1.ipv4[0], 6, tcp(5000, 30080)))
    back = world.send(
        NODE1, ip(NODE1.ipv4[0], CLIENT.ipv4[0], 6, tcp(30080, 5000, flags=SYN | ACK))
    )

    assert isinstance(back, Delivered)
    assert ends(back.frame)[:2] == (NODE1.ipv4[0], 30080)


@FAMILIES
@PROTOCOLS
def test_an_error_about_a_forwarded_packet_quotes_what_the_client_had_sent(program, v6, protocol):
    world = World(program, state_of(balancer(v6, NODE1)))
    client, node = address(CLIENT, v6), address(NODE1, v6)
    there = world.send(CLIENT, ip(client, vip(v6), protocol, segment(protocol, 5000, 80)))
    assert isinstance(there, Delivered)

    error = icmp_error(there.frame[14:], **({"kind": 1, "code": 4} if v6 else {}))
    back = world.send(NODE1, valid_icmp(node, client, error))

    assert isinstance(back, Delivered)
    assert back.to == CLIENT.eni_id
    quoted = back.frame[14 + (40 if v6 else 20) + 8 :]
    assert ends(back.frame[:14] + quoted) == (client, 5000, vip(v6), 80)
    assert is_valid_icmp(back.frame)


@FAMILIES
def test_fragments_follow_their_first(world, v6):
    client, whole = address(CLIENT, v6), udp(5000, 80, b"x" * 40)
    parts = ((0x2000, 0, whole[:24]), (3, 24, whole[24:]))
    sent = [
        ip(client, vip(v6), 44, fragment_header(17, offset, more=not offset) + part)
        if v6
        else ipv4(CLIENT.ipv4[0], VIP4, 17, part, fragment=place)
        for place, offset, part in parts
    ]

    ways = [world.send(CLIENT, one) for one in sent]

    assert len({way.to for way in ways if isinstance(way, Delivered)}) == 1
    assert all(isinstance(way, Delivered) for way in ways)


def test_a_datagram_without_a_checksum_stays_without(world):
    there = world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 17, udp(5000, 80)[:6] + b"\0\0"))

    assert isinstance(there, Delivered)
    assert there.frame[-2:] == b"\0\0"


def test_what_is_too_big_for_the_backend_is_said_by_the_router(program):
    client = replace(CLIENT, mtu_bytes=9000)
    world = World(program, state_of(balancer(False, NODE1), ports=(client, NODE1)))

    outcome = world.send(client, ip(CLIENT.ipv4[0], VIP4, 17, udp(1, 80, b"x" * 1600)))

    assert isinstance(outcome, Answered)
    assert outcome.reason is DropReason.TOO_BIG


def test_a_connection_that_was_silent_for_long_is_forgotten(program):
    world = World(program, state_of(balancer(False, NODE1)))
    world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 17, udp(5000, 80)))
    program.age_connections(31)

    answer = ip_frame(NODE1, ip(NODE1.ipv4[0], CLIENT.ipv4[0], 17, udp(30080, 5000)))
    late = program.send(NODE1.eni_id, answer)

    assert ends(late.frame)[:2] == (NODE1.ipv4[0], 30080)


# Health


@FAMILIES
def test_what_is_proxied_goes_to_who_listens_at_the_address_and_is_answered(program, v6):
    web = Listener(protocol=6, port=80, is_proxied=True)
    world = World(program, state_of(replace(balancer(v6, NODE1), listeners=(web,))))
    client, there = address(CLIENT, v6), vip(v6)

    asked = world.send(CLIENT, ip(client, there, 6, tcp(5000, 80)))
    answer = ip(there, client, 6, tcp(80, 5000, flags=SYN | ACK))
    answered = program.send(SERVICES, from_services(answer))

    assert isinstance(asked, Delivered)
    assert asked.to is None
    assert ends(asked.frame) == (client, 5000, there, 80)
    assert (answered.verdict, answered.delivered_to) == (REDIRECT, (CLIENT.eni_id,))


def test_only_who_is_on_the_list_opens_a_connection_that_is_proxied(program):
    far = Access(is_allowed=True, ranges=(IPv4Network("203.0.113.0/24"),))
    web = Listener(protocol=6, port=80, is_proxied=True, access=far)
    world = World(program, state_of(replace(balancer(False, NODE1), listeners=(web,))))

    asked = world.send(CLIENT, ip(CLIENT.ipv4[0], VIP4, 6, tcp(5000, 80)))

    assert asked == dropped(DropReason.ACCESS)


def probing() -> VpcState:
    state = state_of(balancer(False, NODE1))
    prober = Prober(vpc_id=VPC, address=PROBER)
    return replace(state, services=(PROBER, IPv4Address("100.100.100.200")), prober=prober)


def from_services(packet: bytes) -> bytes:
    kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
    return pack_mac(ROUTER_MAC) + pack_mac(SERVICES_MAC) + kind + packet


def test_the_prober_may_speak_first_and_is_answered(program):
    program.load(probing())

    asked = program.send(SERVICES, from_services(ip(PROBER, NODE1.ipv4[0], 6, tcp(9, 30100))))
    answered = program.send(
        NODE1.eni_id,
        ip_frame(NODE1, ip(NODE1.ipv4[0], PROBER, 6, tcp(30100, 9, flags=SYN | ACK))),
    )

    assert (asked.verdict, asked.delivered_to) == (REDIRECT, (NODE1.eni_id,))
    assert (answered.verdict, answered.delivered_to) == (REDIRECT, (SERVICES,))


def test_no_other_service_may(program):
    program.load(probing())

    sent = ip(IPv4Address("100.100.100.200"), NODE1.ipv4[0], 6, tcp(80, 30100))

    assert program.send(SERVICES, from_services(sent)).drops == ((SERVICES, DropReason.NO_ROUTE),)


@FAMILIES
def test_a_connection_whose_backend_is_listed_no_longer_is_cut_with_a_reset(program, v6):
    servers = tuple(Server(address=address(one, v6), port=30080) for one in (NODE1, NODE2))
    both = Listener(protocol=6, port=80, servers=servers, cuts=True)
    held = replace(balancer(v6, NODE1, NODE2), listeners=(both,))
    world = World(program, state_of(held))
    opened = agree(
        world.program,
        world.oracle,
        CLIENT.eni_id,
        ip_frame(CLIENT, ip(address(CLIENT, v6), vip(v6), 6, tcp(5000, 80))),
    )
    assert isinstance(opened, Delivered)
    going_on = ip(address(CLIENT, v6), vip(v6), 6, tcp(5000, 80, flags=ACK, payload=b"more"))
    frame = ip_frame(CLIENT, going_on)

    left = tuple(one for one in servers if port_of(one) != opened.to)
    cut = replace(held, listeners=(replace(both, servers=left),))
    world.become(state_of(cut))
    outcome = agree(world.program, world.oracle, CLIENT.eni_id, frame)

    assert isinstance(outcome, Answered)
    assert outcome.reason is DropReason.CUT
    reset = parse_packet(outcome.frame[14:], Family.V6 if v6 else Family.V4)
    assert (reset.source, reset.source_port) == (vip(v6), 80)
    assert reset.tcp_flags == RST


def port_of(server: Server):
    own = (one for one in (NODE1, NODE2) if server.address in (*one.ipv4, *one.ipv6))
    return next(own).eni_id
