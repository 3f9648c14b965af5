"""Whoever sends what to a load balancer, in whatever order: program and oracle agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.lab.vpc.oracle.fabric import Delivered, Oracle
from terway.lab.vpc.oracle.packet import parse_packet
from terway.lab.vpc.state import (
    Access,
    Balancer,
    Listener,
    Port,
    Scheduler,
    Server,
    VpcState,
)
from terway.model.address import Family, IPAddress
from terway.model.ids import ENIId
from tests.support.agreement import agree
from tests.support.fabric_program import FabricProgram, open_program
from tests.support.frames import (
    ACK,
    FIN,
    RST,
    SYN,
    echo,
    extension,
    fragment_header,
    icmp_error,
    ip,
    ip_frame,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.support.instances import VPC, port, vpc_state

pytestmark = pytest.mark.root

PORTS = (port(10), port(11), port(12), port(13))
NODES = PORTS[1:]
VIPS = (IPv4Address("192.168.255.1"), IPv6Address("2408:4005:100:fff::1"))
V6_ERROR = {"kind": 1, "code": 4}
NUMBERS = (80, 81, 5000, 30080)


@st.composite
def balancers(draw, v6: bool) -> Balancer:
    chosen = draw(st.lists(st.sampled_from(NODES), unique=True))
    healthy = tuple(one.ipv6[0] if v6 else one.ipv4[0] for one in chosen)
    listeners = tuple(
        draw(listeners_of(protocol, healthy))
        for protocol in draw(st.lists(st.sampled_from([6, 17]), unique=True))
    )
    members = tuple(one.ipv6[0] if v6 else one.ipv4[0] for one in NODES)
    return Balancer(vpc_id=VPC, address=VIPS[v6], listeners=listeners, members=members)


@st.composite
def listeners_of(draw, protocol: int, healthy: tuple[IPAddress, ...]) -> Listener:
    if draw(st.booleans()):
        return Listener(protocol=protocol, port=80, backend_port=30080, backends=healthy)
    servers = tuple(
        Server(
            address=one,
            port=draw(st.sampled_from([30080, 5000])),
            weight=draw(st.sampled_from([0, 1, 3, 100])),
            is_healthy=draw(st.booleans()),
        )
        for one in healthy
    )
    ranges = {4: ("192.168.0.0/29", "0.0.0.0/0"), 6: ("2001:db8::/32", "::/0")}
    version = VIPS[1].version if healthy and healthy[0].version == 6 else 4
    chosen = draw(st.lists(st.sampled_from(ranges[version]), unique=True))
    access = Access(is_allowed=draw(st.booleans()), ranges=tuple(map(ip_network, chosen)))
    return Listener(
        protocol=protocol,
        port=80,
        servers=servers,
        scheduler=draw(st.sampled_from(Scheduler)),
        persistence_s=draw(st.sampled_from([0, 600])),
        cuts=draw(st.booleans()),
        access=draw(st.sampled_from([None, access])),
        is_proxied=protocol == 6 and draw(st.booleans()),
    )


@st.composite
def states(draw) -> VpcState:
    return replace(vpc_state(*PORTS), balancers=(draw(balancers(False)), draw(balancers(True))))


@st.composite
def packets(draw) -> tuple[Port, bytes]:
    sender, v6 = draw(st.sampled_from(PORTS)), draw(st.booleans())
    to = draw(st.sampled_from(PORTS))
    near = to.ipv6[0] if v6 else to.ipv4[0]
    source = sender.ipv6[0] if v6 else sender.ipv4[0]
    destination = draw(st.sampled_from([VIPS[v6], VIPS[v6], near]))
    one, other = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(NUMBERS))
    flags = draw(st.sampled_from([SYN, SYN | ACK, ACK, ACK | FIN, RST]))
    payload = draw(st.sampled_from([b"", b"x"]))
    segment = tcp(one, other, flags=flags, payload=payload)
    bodies = [(6, segment), (17, udp(one, other, payload)), (132, b"x" * 12)]
    protocol, body = draw(st.sampled_from([*bodies, (58 if v6 else 1, echo(one, v6=v6))]))
    shape = draw(st.sampled_from(["plain", "plain", "fragment", "hidden", "unsummed"]))
    if shape == "fragment" and v6:
        head = fragment_header(protocol, draw(st.sampled_from([0, 24])), more=True)
        return sender, ip_frame(sender, ipv6(source, destination, 44, head + body))
    if shape == "fragment":
        place = draw(st.sampled_from([0x2000, 3]))
        return sender, ip_frame(sender, ipv4(source, destination, protocol, body, fragment=place))
    if shape == "hidden" and v6:
        return sender, ip_frame(sender, ipv6(source, destination, 60, extension(protocol) + body))
    if shape == "unsummed" and protocol in (6, 17):
        at = 16 if protocol == 6 else 6
        summed = draw(st.sampled_from([b"\0\0", b"\xff\xff", b"\x12\x34"]))
        body = body[:at] + summed + body[at + 2 :]
    return sender, ip_frame(sender, ip(source, destination, protocol, body))


@pytest.fixture(scope="module")
def program() -> Iterator[FabricProgram]:
    with open_program() as opened:
        yield opened


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(
    history=st.lists(
        st.tuples(states(), st.lists(packets(), min_size=1, max_size=12)), min_size=1, max_size=3
    )
)
def test_program_and_oracle_agree_whatever_comes_and_whatever_answers(program, history):
    program.forget_flows()
    oracle = Oracle(history[0][0])
    for state, sent in history:
        oracle.state = state
        program.load(state)
        for sender, frame in sent:
            outcome = agree(program, oracle, sender.eni_id, frame)
            if isinstance(outcome, Delivered) and (answer := answer_to(outcome)) is not None:
                agree(program, oracle, *answer)


def answer_to(outcome: Delivered) -> tuple[ENIId, bytes] | None:
    """What the receiver sends back: the same packet, its ends exchanged, or an error about it."""
    family = Family.V4 if outcome.frame[12] == 8 else Family.V6
    packet = parse_packet(outcome.frame[14:], family)
    if outcome.to is None:
        return None  # to who listens in the balancer's name
    receiver = next(one for one in PORTS if one.eni_id == outcome.to)
    if len(outcome.frame) % 2:  # now an answer, now an error
        error = icmp_error(outcome.frame[14:], **({} if family is Family.V4 else V6_ERROR))
        own = receiver.ipv4[0] if family is Family.V4 else receiver.ipv6[0]
        number = 1 if family is Family.V4 else 58
        return receiver.eni_id, ip_frame(receiver, ip(own, packet.source, number, error))
    if packet.is_fragment or packet.protocol not in (6, 17):
        return None
    ends = (packet.destination_port, packet.source_port)
    body = tcp(*ends, flags=SYN | ACK) if packet.protocol == 6 else udp(*ends)
    back = ip(packet.destination, packet.source, packet.protocol, body)
    return receiver.eni_id, ip_frame(receiver, back)


@SETTINGS
@given(
    sent=packets(),
    changes=st.lists(st.tuples(st.integers(14, 90), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 40),
)
def test_program_and_oracle_agree_on_spoilt_packets_to_a_balancer(program, sent, changes, cut):
    sender, frame = sent
    spoilt = bytearray(frame)
    for at, value in changes:
        if at < len(spoilt):
            spoilt[at] = value
    shortest = 14 + (20 if frame[12] == 8 else 40)  # BPF_PROG_TEST_RUN takes no less
    listeners = (Listener(protocol=6, port=80, backend_port=30080, backends=(NODES[0].ipv4[0],)),)
    members = (NODES[0].ipv4[0],)
    balancer = Balancer(vpc_id=VPC, address=VIPS[0], listeners=listeners, members=members)
    state = replace(vpc_state(*PORTS), balancers=(balancer,))
    program.forget_flows()
    program.load(state)

    agree(program, Oracle(state), sender.eni_id, bytes(spoilt[: max(shortest, len(spoilt) - cut)]))
