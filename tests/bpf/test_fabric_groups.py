"""Security groups in the fabric: what rules say, what a flow's state adds, what changes change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.oracle.fabric import Delivered, Dropped, Oracle
from terway.lab.vpc.state import Direction, SecurityGroup
from tests.support.agreement import agree
from tests.support.frames import (
    ACK,
    FIN,
    RST,
    SYN,
    echo,
    fragment_header,
    icmp_error,
    ip,
    ip_frame,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.support.instances import OPEN, PODS, allow, group, port, vpc_state, with_groups

pytestmark = pytest.mark.root

A, B, C = port(10), port(11, vswitch=PODS), port(12)
A4, B4, C4, A6, B6 = A.ipv4[0], B.ipv4[0], C.ipv4[0], A.ipv6[0], B.ipv6[0]
CLIENTS = group("sg-clients")
ENTERPRISE = replace(group("sg-enterprise"), is_enterprise=True)


class Network:
    """The program and its oracle, fed with the same frames."""

    def __init__(self, program, *servers: SecurityGroup, clients: SecurityGroup = CLIENTS) -> None:
        self.program = program
        self.clients = clients
        self.oracle = Oracle(self.state(*servers))
        program.load(self.oracle.state)

    def state(self, *servers: SecurityGroup):
        a, b = with_groups(A, self.clients), with_groups(B, *servers)
        groups = {one.id: one for one in (CLIENTS, self.clients, OPEN, *servers)}
        return vpc_state(a, b, C, groups=tuple(groups.values()))

    def change(self, *servers: SecurityGroup) -> None:
        self.oracle.state = self.state(*servers)
        self.program.load(self.oracle.state)

    def send(self, sender, packet: bytes):
        return agree(self.program, self.oracle, sender.eni_id, ip_frame(sender, packet))

    def passes(self, sender, packet: bytes) -> bool:
        outcome = self.send(sender, packet)
        assert isinstance(outcome, Delivered | Dropped)
        return isinstance(outcome, Delivered)


SYN_80 = ip(A4, B4, 6, tcp(1025, 80))
SYN_81 = ip(A4, B4, 6, tcp(1025, 81))


def test_without_a_rule_ingress_is_dropped_at_the_receiver(program):
    network = Network(program, group("sg-b"))

    assert network.send(A, SYN_80) == Dropped(at=B.eni_id, reason=DropReason.INGRESS)


def test_an_enterprise_group_drops_egress_at_the_sender_too(program):
    network = Network(program, OPEN, clients=ENTERPRISE)

    assert network.send(A, SYN_80) == Dropped(at=A.eni_id, reason=DropReason.EGRESS)


def test_a_rule_opens_its_ports_and_no_others(program):
    network = Network(program, group("sg-b", allow("192.168.0.0/16", protocol=6, ports=(79, 80))))

    assert network.passes(A, SYN_80)
    assert not network.passes(A, SYN_81)
    assert not network.passes(A, ip(A4, B4, 6, tcp(1025, 78)))
    assert not network.passes(A, ip(A4, B4, 17, udp(1025, 80)))
    assert not network.passes(A, ip(A6, B6, 6, tcp(1025, 80)))


def test_a_range_of_everything_in_one_family_says_nothing_of_the_other(program):
    network = Network(program, group("sg-b", allow("::/0")))

    assert network.passes(A, ip(A6, B6, 6, tcp(1025, 80)))
    assert not network.passes(A, SYN_80)


def test_drop_wins_at_equal_priority_and_a_lower_number_wins_otherwise(program):
    either = [allow("0.0.0.0/0", accept=accept, priority=5) for accept in (True, False)]

    assert not Network(program, group("sg-b", *either)).passes(A, SYN_80)
    program.forget_flows()
    first = allow("0.0.0.0/0", priority=4)
    assert Network(program, group("sg-b", *either, first)).passes(A, SYN_80)


def test_several_groups_of_an_eni_are_one_list(program):
    opens = group("sg-opens", allow("0.0.0.0/0", priority=5))
    shuts = group(
        "sg-shuts", allow("0.0.0.0/0", accept=False, priority=4, protocol=6, ports=(80, 80))
    )
    network = Network(program, opens, shuts)

    assert not network.passes(A, SYN_80)
    assert network.passes(A, SYN_81)


def test_a_group_as_peer_means_its_members_addresses(program):
    network = Network(program, group("sg-b", allow(CLIENTS)))

    assert network.passes(A, SYN_80)
    assert network.passes(A, ip(A6, B6, 6, tcp(1025, 80)))
    assert not network.passes(C, ip(C4, B4, 6, tcp(1025, 80)))


def test_members_reach_each_other_whatever_the_rules_say_unless_inner_access_is_off(program):
    shut = allow("0.0.0.0/0", accept=False)
    inner = group("sg-same", shut)
    isolated = group("sg-same", shut, inner_access=False)

    assert Network(program, inner, clients=inner).passes(A, SYN_80)
    program.forget_flows()
    assert not Network(program, isolated, clients=isolated).passes(A, SYN_80)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (SYN_80, ip(B4, A4, 6, tcp(80, 1025, flags=SYN | ACK))),
        (ip(A4, B4, 17, udp(1025, 53)), ip(B4, A4, 17, udp(53, 1025))),
        (ip(A4, B4, 1, echo(7)), ip(B4, A4, 1, echo(7, reply=True))),
        (ip(A6, B6, 17, udp(1025, 53)), ip(B6, A6, 17, udp(53, 1025))),
        (ip(A6, B6, 1, echo(7, v6=True)), ip(B6, A6, 1, echo(7, v6=True, reply=True))),
    ],
    ids=["TCP", "UDP", "ping", "UDP6", "ping6"],
)
def test_an_answer_needs_no_rule_and_nothing_but_an_answer_passes_without(program, there, back):
    network = Network(program, group("sg-b", allow("0.0.0.0/0"), allow("::/0")))
    assert not network.passes(B, back)

    assert network.passes(A, there)

    assert network.passes(B, back)


def test_a_ping_does_not_open_the_way_for_pings_back(program):
    network = Network(program, group("sg-b", allow("0.0.0.0/0")))

    assert network.passes(A, ip(A4, B4, 1, echo(7)))
    assert not network.passes(B, ip(B4, A4, 1, echo(7)))


def test_a_connection_the_other_way_on_the_same_ports_asks_the_rules(program):
    network = Network(program, group("sg-b", allow("0.0.0.0/0")))

    assert network.passes(A, SYN_80)
    assert not network.passes(B, ip(B4, A4, 6, tcp(80, 1025)))


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_an_error_about_a_flow_passes_and_one_about_nothing_does_not(program, v6):
    network = Network(program, group("sg-b", allow("0.0.0.0/0"), allow("::/0")))
    a, b = (A6, B6) if v6 else (A4, B4)
    kind, code = (2, 0) if v6 else (3, 4)
    sent, other = ip(a, b, 17, udp(1025, 53)), ip(a, b, 17, udp(1026, 53))
    assert network.passes(A, sent)

    about = [
        ip(b, a, 1, icmp_error(p[: 48 if v6 else 28], kind=kind, code=code)) for p in (sent, other)
    ]

    assert network.passes(B, about[0])
    assert not network.passes(B, about[1])
    assert not network.passes(B, ip(b, a, 1, icmp_error(sent[:20], kind=kind, code=code)))


def test_fragments_are_judged_by_the_ports_of_the_first(program):
    network = Network(program, group("sg-b", allow("192.168.0.0/16", protocol=17, ports=(53, 53))))
    whole = {p: udp(1025, p, b"x" * 40) for p in (53, 54)}

    for number, passes in ((53, True), (54, False)):
        first = ipv4(A4, B4, 17, whole[number][:24], fragment=0x2000, identifier=number)
        later = ipv4(A4, B4, 17, whole[number][24:], fragment=3, identifier=number)
        assert (network.passes(A, first), network.passes(A, later)) == (passes, passes)


def test_ipv6_fragments_are_judged_by_the_ports_of_the_first(program):
    network = Network(program, group("sg-b", allow("::/0", protocol=17, ports=(53, 53))))
    body = udp(1025, 54, b"x" * 40)
    later = fragment_header(17, 24, more=False) + body[24:]

    first = fragment_header(17, 0, more=True) + body[:24]

    assert not network.passes(A, ipv6(A6, B6, 44, first))
    assert not network.passes(A, ipv6(A6, B6, 44, later))


def test_an_established_flow_ends_when_the_rules_no_longer_accept_it(program):
    network = Network(program, group("sg-b", allow("0.0.0.0/0")))
    on = ip(A4, B4, 6, tcp(1025, 80, flags=ACK))
    assert network.passes(A, SYN_80)

    network.change(group("sg-b", allow("0.0.0.0/0", priority=9)))
    assert network.passes(A, on)
    network.change(group("sg-b", allow("0.0.0.0/0", protocol=17)))
    assert not network.passes(A, on)


def test_an_established_flow_ends_when_its_peer_leaves_the_group_that_let_it_in(program):
    network = Network(program, group("sg-b", allow(CLIENTS)))
    on = ip(A4, B4, 6, tcp(1025, 80, flags=ACK))
    assert network.passes(A, SYN_80)

    network.clients = group("sg-others")
    network.change(group("sg-b", allow(CLIENTS)))

    assert not network.passes(A, on)


def test_the_longest_list_the_cloud_allows_is_read_to_its_end(program):
    rules = [allow(f"10.{i >> 8}.{i & 255}.0/24", accept=False) for i in range(999)]
    network = Network(program, group("sg-b", *rules, allow("192.168.0.0/16", priority=100)))

    assert network.passes(A, SYN_80)


def test_egress_rules_of_the_sender_and_ingress_rules_of_the_receiver_both_count(program):
    no_web = allow(
        str(PODS.cidr), direction=Direction.EGRESS, accept=False, protocol=6, ports=(80, 80)
    )
    network = Network(program, group("sg-b", allow("0.0.0.0/0")), clients=group("sg-a", no_web))

    assert network.send(A, SYN_80) == Dropped(at=A.eni_id, reason=DropReason.EGRESS)
    assert network.passes(A, SYN_81)


def test_a_source_that_is_another_enis_address_is_judged_by_that_enis_groups(program):
    network = Network(program, group("sg-b", allow(CLIENTS)))
    forwarder = replace(C, source_check=False)
    state = network.oracle.state
    network.oracle.state = replace(state, ports=(*state.ports[:2], forwarder))
    program.load(network.oracle.state)

    assert network.passes(forwarder, SYN_80)
    assert not network.passes(forwarder, ip(C4, B4, 6, tcp(1025, 80)))


OPENED = [SYN_80]
ESTABLISHED = [SYN_80, ip(B4, A4, 6, tcp(80, 1025, flags=SYN | ACK))]
RESET = [*ESTABLISHED, ip(B4, A4, 6, tcp(80, 1025, flags=RST))]
FINISHED = [
    *ESTABLISHED,
    ip(A4, B4, 6, tcp(1025, 80, flags=FIN | ACK)),
    ip(B4, A4, 6, tcp(80, 1025, flags=FIN | ACK)),
]
HALF_CLOSED = FINISHED[:-1]


@pytest.mark.parametrize(
    ("packets", "idle_s"),
    [(OPENED, 30), (ESTABLISHED, 910), (HALF_CLOSED, 910), (FINISHED, 3), (RESET, 3)],
    ids=["opened", "established", "half closed", "finished", "reset"],
)
@pytest.mark.parametrize(("late_s", "is_known"), [(-1, True), (1, False)], ids=["in time", "late"])
def test_an_idle_connection_is_forgotten_after_its_time(program, packets, idle_s, late_s, is_known):
    network = Network(program, group("sg-b", allow("0.0.0.0/0")))
    outcomes = [network.passes(A if p[12:16] == A4.packed else B, p) for p in packets]
    answer = ip_frame(B, ip(B4, A4, 6, tcp(80, 1025, flags=ACK)))
    assert all(outcomes)

    program.age_flows(idle_s + late_s)

    drops = () if is_known else ((A.eni_id, DropReason.INGRESS),)
    assert program.send(B.eni_id, answer).drops == drops
