"""What the programs say to a packet is what the model says to its connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.ebpf.contract import SETTING_SERVICES
from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.model.address import Family
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.errors import UsageError
from terway.model.policy_maps import (
    NO_LANES,
    NOBODY,
    ClassNumber,
    Content,
    Generation,
    Lanes,
    PageOf,
    Pair,
    Prefix,
    RuleSetNumber,
    Turn,
    Word,
)
from terway.policy.bpf.answers import BpfAnswers
from terway.policy.bpf.judge import Judge, Question
from terway.policy.bpf.ports import print_pages
from terway.policy.cluster import Protocol
from terway.policy.evaluate import evaluate
from terway.policy.ports import PortSet
from tests.support.datapath_program import SHOT, DataPathBench, open_datapath_program
from tests.support.frames import ACK, FIN, RST, SYN, icmp_error, ipv4, tcp
from tests.support.policy_program import OWN, SOURCE_PORT, ProgramNode
from tests.support.policy_worlds import flows, worlds

pytestmark = pytest.mark.root

_FEW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
POD = 5
FRIEND, STRANGER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
ONLY_WEB = PortSet(tcp=((80, 80), (8000, 8999)))
INGRESS, EGRESS, OTHERS = map(RuleSetNumber, (1, 2, 3))
FRIENDS = ClassNumber(7)
NOW = Generation(4)


def content(lanes: Lanes, **changes: object) -> Content:
    """Return maps in which friends may use ONLY_WEB by INGRESS and EGRESS, and nobody else."""
    given = {
        "generation": NOW,
        "sides": {POD: Turn(NOW, NO_LANES, lanes)},
        "hosts": {FRIEND: Turn(NOW, NOBODY, FRIENDS)},
        "verdicts": {
            Pair(number, class_id): Word(1 if class_id == FRIENDS else 0)
            for number in (INGRESS, EGRESS)
            for class_id in (FRIENDS, NOBODY)
        },
        "pages": print_pages(1, ONLY_WEB),
    }
    return Content(**{**given, **changes})  # type: ignore[arg-type]  # by name


@pytest.fixture(scope="module")
def bench() -> Iterator[DataPathBench]:
    sizes = {"policy_hosts": 4096, "policy_nets": 4096, "policy_verdicts": 4096}
    with open_datapath_program(max_entries=sizes) as found:
        yield found


@pytest.fixture(scope="module")
def maps(bench) -> PolicyMaps:
    return PolicyMaps(bench.maps)


class Pod:
    """The pod at which packets are judged, by its programs."""

    def __init__(self, bench: DataPathBench, maps: PolicyMaps) -> None:
        self._bench = bench
        self._maps = maps
        self.have_leg(1)
        bench.forget()

    def have_leg(self, ifindex: int) -> None:
        """Have a second leg that leads to the node; 0: have none."""
        number = EndpointNumber(POD)
        one = Endpoint(number=number, kind=EndpointKind.EXCLUSIVE, addresses=OWN, leg=ifindex)
        self._bench.put_endpoint(one, link=0)

    def enforce(self, wanted: Content) -> None:
        self._maps.remove(self._maps.read().keys())
        self._maps.put(wanted)
        self._maps.switch(wanted.generation)

    def gets(self, packet: bytes) -> Loss | None:
        return self._lost("into_pod", packet)

    def sends(self, packet: bytes) -> Loss | None:
        return self._lost("out_of_pod", packet)

    def _lost(self, program: str, packet: bytes) -> Loss | None:
        frame = bytes(12) + b"\x08\x00" + packet
        outcome = self._bench.run(program, frame, endpoint=POD)
        assert (outcome.verdict == SHOT) is bool(outcome.losses)
        return outcome.losses[0][1] if outcome.losses else None


@pytest.fixture
def pod(bench, maps) -> Pod:
    return Pod(bench, maps)


def to_pod(source: IPv4Address, port: int, flags: int = SYN) -> bytes:
    assert OWN.v4 is not None
    return ipv4(source, OWN.v4, 6, tcp(SOURCE_PORT, port, flags=flags))


def from_pod(destination: IPv4Address, port: int, flags: int = SYN) -> bytes:
    assert OWN.v4 is not None
    return ipv4(OWN.v4, destination, 6, tcp(SOURCE_PORT, port, flags=flags))


def answer(source: IPv4Address, port: int) -> bytes:
    """Return what the pod answers to `to_pod`."""
    assert OWN.v4 is not None
    return ipv4(OWN.v4, source, 6, tcp(port, SOURCE_PORT, flags=SYN | ACK))


@given(st.data())
@_FEW
def test_the_programs_answer_as_the_model_does(bench, maps, data):
    """bug classes 48 and 51"""
    world = data.draw(worlds())
    answers = BpfAnswers(
        world.cluster, world.policies, lambda content: ProgramNode(bench, maps, content)
    )
    for flow in data.draw(st.lists(flows(world), min_size=10, max_size=20)):
        try:
            wanted = evaluate(world.cluster, world.policies, flow).is_allowed
        except UsageError:
            continue
        assert answers.allowed(flow) is wanted, flow


_ports = st.integers(0, 65535)
_intervals = st.lists(st.tuples(_ports, _ports).map(sorted).map(tuple), max_size=3)


@given(st.data())
@_FEW
def test_every_port_of_every_protocol_is_found_as_on_paper(pod, data):
    tcp_ports = data.draw(_intervals)
    pages: dict[PageOf, bytes] = {}
    for first, last in tcp_ports:
        for key, bits in print_pages(1, PortSet(tcp=((first, last),))).items():
            before = int.from_bytes(pages.get(key, bytes(32)), "little")
            pages[key] = (before | int.from_bytes(bits, "little")).to_bytes(32, "little")
    wanted = content(Lanes(ingress=INGRESS), pages=pages)
    pod.enforce(wanted)
    judge = Judge(wanted)
    edges = [port for interval in tcp_ports for port in interval]

    for port in {*data.draw(st.lists(_ports, min_size=5, max_size=20)), *edges}:
        asked = Question(
            endpoint=POD, other=FRIEND, protocol=Protocol.TCP, port=port, is_opener=False
        )
        assert (pod.gets(to_pod(FRIEND, port)) is None) is judge.allows(asked)


def test_a_pod_without_rule_sets_lets_everything_pass(pod):
    pod.enforce(content(NO_LANES))

    assert pod.gets(to_pod(STRANGER, 22)) is None
    assert pod.sends(from_pod(STRANGER, 22)) is None


def test_each_side_is_lost_under_its_own_reason(pod):
    pod.enforce(content(Lanes(ingress=INGRESS, egress=EGRESS)))

    assert pod.gets(to_pod(FRIEND, 80)) is None
    assert pod.gets(to_pod(FRIEND, 81)) is Loss.POLICY_INGRESS
    assert pod.gets(to_pod(STRANGER, 80)) is Loss.POLICY_INGRESS
    assert pod.sends(from_pod(FRIEND, 8999)) is None
    assert pod.sends(from_pod(FRIEND, 9000)) is Loss.POLICY_EGRESS


def test_answers_are_judged_as_what_was_asked_and_cut_when_that_is_not_allowed_any_more(pod):
    """An open connection is judged anew by each packet: docs/decisions/0016."""
    both = content(Lanes(ingress=INGRESS, egress=OTHERS))
    pod.enforce(both)
    assert pod.gets(to_pod(FRIEND, 80)) is None

    assert pod.sends(answer(FRIEND, 80)) is None  # though OTHERS allow nothing

    pod.enforce(replace(both, hosts={}))
    assert pod.sends(answer(FRIEND, 80)) is Loss.POLICY_INGRESS
    assert pod.gets(to_pod(FRIEND, 80, ACK)) is Loss.POLICY_INGRESS


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN | ACK, RST, SYN | FIN, SYN | RST, 0])
def test_tcp_that_neither_opens_nor_belongs_is_lost_where_policies_judge(pod, flags):
    pod.enforce(content(Lanes(ingress=INGRESS)))

    assert pod.gets(to_pod(FRIEND, 80, flags)) is Loss.UNKNOWN_FLOW
    assert pod.sends(from_pod(FRIEND, 80, flags)) is Loss.UNKNOWN_FLOW


def test_errors_about_a_connection_pass_and_others_do_not(pod):
    pod.enforce(content(Lanes(ingress=INGRESS, egress=EGRESS)))
    router = IPv4Address("10.9.9.9")
    assert OWN.v4 is not None
    assert pod.sends(from_pod(FRIEND, 80)) is None

    about = icmp_error(from_pod(FRIEND, 80))
    assert pod.gets(ipv4(router, OWN.v4, 1, about)) is None

    forged = icmp_error(from_pod(STRANGER, 80))
    assert pod.gets(ipv4(router, OWN.v4, 1, forged)) is Loss.UNKNOWN_FLOW


def test_what_the_own_node_opens_is_let_in_and_what_is_opened_to_it_has_its_own_rules(bench, pod):
    """bug class 50"""
    node = IPv4Address("10.1.0.1")
    bench.put_node_address(node)
    wanted = content(Lanes(ingress=INGRESS, egress=EGRESS))
    pod.enforce(wanted)

    assert pod.gets(to_pod(node, 22)) is None
    assert pod.sends(from_pod(node, 22)) is None
    pod.enforce(content(Lanes(egress=EGRESS, own_node=OTHERS)))
    assert pod.sends(from_pod(node, 23)) is Loss.POLICY_EGRESS


def test_the_longest_net_counts_and_a_host_inside_it_before_that(pod):
    """bug class 48"""
    wide, narrow = ClassNumber(8), ClassNumber(9)
    wanted = content(
        Lanes(ingress=INGRESS),
        nets_turn=Turn(NOW, 0, 3),
        nets={
            Prefix(3, Family.V4, int(ip_address("10.0.0.0")), 8): wide,
            Prefix(3, Family.V4, int(ip_address("10.0.0.0")), 30): narrow,
            Prefix(2, Family.V4, int(ip_address("10.7.0.0")), 16): narrow,
        },
        verdicts={
            Pair(INGRESS, NOBODY): Word(0),
            Pair(INGRESS, wide): Word(0x80000000),
            Pair(INGRESS, narrow): Word(0),
            Pair(INGRESS, FRIENDS): Word(0x80000000),
        },
    )
    pod.enforce(wanted)

    assert pod.gets(to_pod(IPv4Address("10.7.0.1"), 1)) is None
    assert pod.gets(to_pod(STRANGER, 1)) is Loss.POLICY_INGRESS
    assert pod.gets(to_pod(FRIEND, 1)) is None
    assert pod.gets(to_pod(IPv4Address("11.0.0.1"), 1)) is Loss.POLICY_INGRESS


def test_before_its_generation_an_entry_says_what_it_said(pod):
    after = content(Lanes(ingress=INGRESS))

    pod.enforce(replace(after, generation=Generation(NOW - 1)))

    assert pod.gets(to_pod(STRANGER, 80)) is None


@pytest.mark.parametrize("address", ["239.1.1.1", "255.255.255.255", "240.0.0.1", "223.0.0.1"])
def test_inside_a_pod_what_is_for_many_is_judged_as_everything_else(pod, address):
    """A pod's own device leads to its siblings, and to groups of the VPC."""
    pod.enforce(content(Lanes(egress=EGRESS)))
    assert pod.sends(from_pod(IPv4Address(address), 9)) is Loss.POLICY_EGRESS

    pod.enforce(content(NO_LANES))
    assert pod.sends(from_pod(IPv4Address(address), 9)) is None


def test_what_the_stack_is_to_translate_is_judged_behind_that_and_not_here(bench, pod):
    services = ip_network("172.21.0.0/16")
    bench.put_host_stack(services)
    pod.enforce(content(Lanes(egress=EGRESS)))

    by_others = pod.sends(from_pod(IPv4Address("172.21.0.1"), 80))
    pod.have_leg(0)
    by_nobody = pod.sends(from_pod(IPv4Address("172.21.0.3"), 80))
    bench.set(flags=SETTING_SERVICES)
    by_us = pod.sends(from_pod(IPv4Address("172.21.0.2"), 80))

    bench.set()
    bench.forget("host_stack")
    assert by_others is None
    assert by_nobody is by_us is Loss.POLICY_EGRESS
