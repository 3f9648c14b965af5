"""What a node knows, records and judges anew is what `evaluate` says of the same connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.agent.flows.knowledge import ClusterKnowledge
from terway.agent.policy.selected import PolicyIndex
from terway.model.address import IPAddress, IPPair
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.asking.unseen import unseen
from terway.policy.asking.whatif import gather, whatif
from terway.policy.cluster import Cluster, PodKey, Protocol
from terway.policy.ends import Party, parties_of
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow
from terway.policy.policies import Policy
from terway.policy.records.recorded import RecordedFlow, line_of, read_line
from tests.support.policy_worlds import World, flows, worlds
from tests.support.small_policies import policy_sets

NODE = NodeName("n1")


@dataclass
class Heard:
    """All of a world, heard."""

    world: World
    attached: Mapping[PodKey, IPPair] = field(default_factory=dict)

    def cluster(self) -> Cluster:
        return self.world.cluster

    def selecting(self, key: PodKey) -> tuple[Policy, ...]:
        index = PolicyIndex()
        for policy in self.world.policies:
            index.put(policy.key, policy)
        cluster = self.world.cluster
        return tuple(index.selecting(cluster.pods[key], cluster.namespaces))


def _recorded(knowledge: ClusterKnowledge, flow: Flow, ends: tuple[Party, Party]) -> RecordedFlow:
    source, destination = (knowledge.end_of(one.address) for one in ends)
    return RecordedFlow(
        time="2026-01-02T03:04:05.678Z",
        node=NODE,
        is_allowed=True,
        source=source,
        destination=destination,
        protocol="ICMP" if flow.protocol is Protocol.OTHER else flow.protocol.value,
        port=flow.port,
    )


def _is_one_thing(party: Party, cluster: Cluster) -> bool:
    """Two nodes may say that an address is theirs: a record names one of them."""
    return len(party.nodes) <= 1 and all(name in cluster.nodes for name in party.nodes)


def _draw_record(data, world: World) -> tuple[RecordedFlow, Flow] | None:
    flow = data.draw(flows(world))
    try:
        ends = parties_of(world.cluster, flow)
    except UsageError:
        return None
    if not all(_is_one_thing(one, world.cluster) for one in ends):
        return None
    source, destination = (one.address for one in ends)
    clock = iter(range(10_000))
    knowledge = ClusterKnowledge(Heard(world), now=lambda: float(next(clock)))
    record = _recorded(knowledge, flow, ends)
    plain = replace(flow, source=_at(source), destination=_at(destination), family=None)
    return record, replace(plain, via_service=record.flow().via_service)


def _at(address: IPAddress) -> AddressEnd:
    return AddressEnd(address=address)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_node_judges_a_connection_as_evaluate_does(data):
    world = data.draw(worlds())
    drawn = _draw_record(data, world)
    if drawn is None:
        return
    record, flow = drawn
    clock = iter(range(10_000))
    knowledge = ClusterKnowledge(Heard(world), now=lambda: float(next(clock)))
    assert knowledge.judge(record) == evaluate(world.cluster, world.policies, flow)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_newly_denied_or_allowed_is_what_evaluate_says(data):
    world = data.draw(worlds())
    policies = data.draw(policy_sets(most=8))
    told: list[tuple[RecordedFlow, Flow]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        drawn = _draw_record(data, world)
        if drawn is not None:
            record, flow = drawn
            was = evaluate(world.cluster, world.policies, flow).is_allowed
            read = read_line(line_of(replace(record, is_allowed=was)))
            assert isinstance(read, RecordedFlow)
            told.append((read, flow))
    answer = whatif(gather(record for record, _ in told), policies)
    expected = {
        _name(record): will
        for record, flow in told
        if (will := evaluate(world.cluster, policies, flow).is_allowed) is not record.is_allowed
    }
    assert answer.unjudged == ()
    assert {_name(one.seen.flow): one.is_allowed for one in answer.shifts} == expected


def _name(record: RecordedFlow) -> tuple[object, ...]:
    flow = record.flow()
    return flow.source, flow.destination, flow.family, record.protocol, record.port


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_was_seen_is_never_among_the_unseen_and_what_is_there_is_possible(data):
    world = data.draw(worlds(max_policies=4))
    drawn = _draw_record(data, world)
    seen = gather([drawn[0]] if drawn else [])
    for one in unseen(seen, world.cluster, world.policies, None):
        for flow in seen:
            source, destination = flow.parties
            if source in one.sources and destination in one.destinations:
                judged = flow.flow.flow()
                assert not one.ports.has(judged.protocol, judged.port)
