"""Whatever the groups and whatever is sent in whatever order: program and oracle agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.lab.vpc.oracle.fabric import Delivered, Oracle, with_tag
from terway.lab.vpc.state import Direction, Port, RouteEntry, SecurityGroup, SecurityGroupRule
from terway.model.ids import ENIId, SecurityGroupId
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
from tests.support.instances import NODES, PODS, VPC, member, port, vpc_state

pytestmark = pytest.mark.root

PORTS = (port(10), port(11, vswitch=PODS), port(12), port(13, vswitch=PODS))
TRUNK = PORTS[1]
MEMBERS = (member(14, TRUNK, 1), member(15, TRUNK, 4094, vswitch=NODES))
EVERYBODY = (*PORTS, *MEMBERS)
GROUP_IDS = [SecurityGroupId(f"sg-{n}") for n in range(3)]
RANGES = ("0.0.0.0/0", "192.168.0.0/19", "192.168.32.0/24", "192.168.0.10/32", "10.0.0.0/8")
RANGES_6 = ("::/0", "2408:4005:100:1::/64", "2408:4005:100:2::b/128")
NUMBERS = (1, 53, 80, 81, 443)

reports = st.sampled_from([0, 0, 0, 20, 28, 48, 60])
protocols = st.sampled_from([None, 1, 6, 17, 58, 132])
ranges = st.sampled_from(
    [IPv4Network(one) for one in RANGES] + [IPv6Network(one) for one in RANGES_6]
)


@st.composite
def rules(draw) -> SecurityGroupRule:
    protocol = draw(protocols)
    ends = sorted(draw(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))))
    has_ports = protocol in (6, 17) and draw(st.booleans())
    return SecurityGroupRule(
        direction=draw(st.sampled_from(Direction)),
        accept=draw(st.booleans()),
        priority=draw(st.integers(1, 4)),
        peer=draw(ranges | st.sampled_from(GROUP_IDS)),
        protocol=protocol,
        ports=(ends[0], ends[1]) if has_ports else None,
    )


@st.composite
def groups(draw, name: SecurityGroupId) -> SecurityGroup:
    return SecurityGroup(
        id=name,
        vpc_id=VPC,
        rules=tuple(draw(st.lists(rules(), max_size=6))),
        inner_access=draw(st.booleans()),
        is_enterprise=draw(st.booleans()),
    )


@st.composite
def states(draw):
    members = st.lists(st.sampled_from(GROUP_IDS), unique=True, max_size=2).map(tuple)
    ports = [
        replace(one, security_group_ids=draw(members), source_check=draw(st.booleans()))
        for one in EVERYBODY
    ]
    found = tuple(draw(groups(name)) for name in GROUP_IDS)
    route = RouteEntry(vpc_id=VPC, destination=IPv4Network("10.0.0.0/8"), next_hop=PORTS[3].eni_id)
    return replace(vpc_state(*ports, groups=found), routes=(route,))


def transport(draw, v6: bool) -> tuple[int, bytes]:
    one, other = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(NUMBERS))
    flags = draw(st.sampled_from([SYN, SYN | ACK, ACK, ACK | FIN, RST]))
    chosen: tuple[int, bytes] = draw(
        st.sampled_from(
            [
                (6, tcp(one, other, flags=flags)),
                (17, udp(one, other)),
                (1, echo(one, v6=v6, reply=draw(st.booleans()))),
                (132, b"x" * 12),
            ]
        )
    )
    return chosen


@st.composite
def frames(draw):
    sender, receiver = draw(st.sampled_from(EVERYBODY)), draw(st.sampled_from(EVERYBODY))
    v6 = draw(st.booleans())
    named = draw(st.sampled_from([sender, sender, sender, *EVERYBODY]))  # whose address it shows
    source, destination = (
        (named.ipv6[0], receiver.ipv6[0]) if v6 else (named.ipv4[0], receiver.ipv4[0])
    )
    if not v6 and draw(st.integers(0, 5)) == 0:
        destination = IPv4Network("10.1.0.0/16")[draw(st.integers(1, 3))]
    protocol, body = transport(draw, v6)
    shape = draw(st.sampled_from(["plain"] * 4 + ["error", "fragment", "hidden"]))
    if shape == "error":
        _, quoted = transport(draw, v6)
        back = ip(destination, source, draw(st.sampled_from([6, 17, 1])), quoted)
        kind, code = draw(st.sampled_from([(1, 0), (2, 0)] if v6 else [(3, 4), (11, 0)]))
        protocol, body = 1, icmp_error(back, kind=kind, code=code)
    number = 58 if v6 and protocol == 1 else protocol
    if shape == "fragment" and v6:
        head = fragment_header(number, draw(st.sampled_from([0, 24])), more=True)
        return sender, ip_frame(sender, ipv6(source, destination, 44, head + body))
    if shape == "fragment":
        place = draw(st.sampled_from([0x2000, 0x2003, 3]))
        return sender, ip_frame(sender, ipv4(source, destination, protocol, body, fragment=place))
    if shape == "hidden" and v6:
        chain = extension(60) + extension(number, length=1) + body
        return sender, ip_frame(sender, ipv6(source, destination, 0, chain))
    return sender, ip_frame(sender, ip(source, destination, protocol, body))


@pytest.fixture(scope="module")
def program() -> Iterator[FabricProgram]:
    with open_program() as opened:
        yield opened


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(
    history=st.lists(
        st.tuples(states(), st.lists(st.tuples(frames(), reports), min_size=1, max_size=12)),
        min_size=1,
        max_size=2,
    )
)
def test_program_and_oracle_agree_on_every_packet_of_every_history(program, history):
    program.forget_flows()
    oracle = Oracle(history[0][0])
    for state, sent in history:
        oracle.state = state
        program.load(state)
        for (sender, frame), quoted_bytes in sent:
            outcome = agree(program, oracle, *on_wire(sender, frame))
            if quoted_bytes and isinstance(outcome, Delivered):
                receiver = next(one for one in EVERYBODY if one.eni_id == outcome.to)
                reported = report(receiver, frame, quoted_bytes)
                agree(program, oracle, *on_wire(receiver, reported))


def on_wire(sender: Port, frame: bytes) -> tuple[ENIId, bytes]:
    """By whose link a frame of a sender comes, and with which tag."""
    if sender.trunk_id is None:
        return sender.eni_id, frame
    return sender.trunk_id, with_tag(frame, sender.vlan_id)


def report(receiver: Port, frame: bytes, quoted_bytes: int) -> bytes:
    """An ICMP error from `receiver` to the source of `frame`, which it quotes in part."""
    quoted = frame[14 : 14 + quoted_bytes]
    if frame[12] == 8:
        source = IPv4Address(frame[26:30])
        return ip_frame(receiver, ip(receiver.ipv4[0], source, 1, icmp_error(quoted)))
    source6 = IPv6Address(frame[22:38])
    error = icmp_error(quoted, kind=2, code=0)
    return ip_frame(receiver, ip(receiver.ipv6[0], source6, 1, error))


@SETTINGS
@given(
    sent=frames(),
    changes=st.lists(st.tuples(st.integers(14, 90), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 40),
)
def test_program_and_oracle_agree_on_spoilt_packets(program, sent, changes, cut):
    sender, frame = sent
    spoilt = bytearray(frame)
    for at, value in changes:
        if at < len(spoilt):
            spoilt[at] = value
    shortest = 14 + (20 if frame[12] == 8 else 40)  # BPF_PROG_TEST_RUN takes no less
    state = vpc_state(*EVERYBODY)
    program.forget_flows()
    program.load(state)

    sent_so = on_wire(sender, bytes(spoilt[: max(shortest, len(spoilt) - cut)]))
    agree(program, Oracle(state), *sent_so)


@SETTINGS
@given(
    sent=frames(),
    tags=st.lists(st.sampled_from([0, 1, 2, 4094, 0x2001, 0xFFFF]), min_size=1, max_size=2),
)
def test_program_and_oracle_agree_on_whose_a_tagged_frame_is(program, sent, tags):
    _, frame = sent
    for tag in tags:
        frame = with_tag(frame, tag)
    state = vpc_state(*EVERYBODY)
    program.forget_flows()
    program.load(state)

    for one in PORTS[:2]:
        agree(program, Oracle(state), one.eni_id, frame)
