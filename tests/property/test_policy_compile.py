"""Does what is compiled say what `evaluate` says, and only depend on the end of a history?"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.address import Family, IPAddress, family_of
from terway.model.ids import NodeName
from terway.policy.changes import Attach
from terway.policy.cluster import Pod, Protocol
from terway.policy.compiled import NOBODY, ClassId, Compiled, RuleSetId, Sides
from terway.policy.compiling.compiler import Compiler
from terway.policy.ends import owner_of
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow, NodeEnd, PodEnd
from tests.support.canonical import canonical, changed
from tests.support.policy_histories import State, histories
from tests.support.policy_worlds import World, worlds
from tests.support.small_clusters import (
    HERE,
    NODE_ADDRESSES,
    NODE_ADDRESSES_6,
    OUTSIDE,
    POD_ADDRESSES,
    POD_ADDRESSES_6,
    PORTS,
    pair_of,
)

ADDRESSES = (
    *POD_ADDRESSES,
    *POD_ADDRESSES_6,
    *NODE_ADDRESSES,
    *NODE_ADDRESSES_6,
    *OUTSIDE,
)
# Each protocol, and each port that has a name somewhere.
ASKED = (
    *((Protocol.TCP, port) for port in PORTS),
    *((Protocol.UDP, port) for port in PORTS),
    (Protocol.SCTP, 80),
    (Protocol.OTHER, 0),
)


def class_of(compiled: Compiled, address: IPAddress) -> ClassId:
    """Return what the two tables of addresses say, as a packet filter would look."""
    if address in compiled.hosts:
        return compiled.hosts[address]
    for net in compiled.nets:
        if net.family is family_of(address) and net.first <= int(address) <= net.last:
            return net.class_id
    return NOBODY


def says(
    compiled: Compiled, rule_set: RuleSetId | None, other: IPAddress, protocol: Protocol, port: int
) -> bool:
    if rule_set is None:
        return True
    allowed = compiled.rule_sets[rule_set].allowed(class_of(compiled, other))
    return allowed.has(protocol, port)


def compile_world(world: World, node: NodeName | None) -> tuple[Compiled, list[Pod]]:
    """Return what a node enforces, and the pods that it holds; None is everybody's view."""
    held = [
        pod
        for pod in world.cluster.pods.values()
        if not pod.is_host_network and not pod.is_finished and node in (None, pod.node)
    ]
    compiler = Compiler(node, everybody=node is None)
    compiler.apply(world.changes)
    if node is not None:
        compiler.apply(Attach(key=pod.key, addresses=pair_of(pod.addresses)) for pod in held)
    return compiler.compiled(), held


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_node_enforces_what_evaluate_says_of_its_pods(data):
    world = data.draw(worlds())

    compiled, held = compile_world(world, HERE)

    pairs = [
        (pod, other)
        for pod in held
        for mine in pod.addresses
        for other in ADDRESSES
        if family_of(mine) is family_of(other) and owner_of(world.cluster, other) != pod
    ]
    for pod, other in data.draw(st.permutations(pairs))[:12]:
        for protocol, port in ASKED:
            agree(compiled, world, pod, other, protocol, port)


def agree(
    compiled: Compiled,
    world: World,
    pod: Pod,
    other: IPAddress,
    protocol: Protocol,
    port: int,
) -> None:
    me, them = PodEnd(pod=pod.key), AddressEnd(address=other)
    out = Flow(source=me, destination=them, protocol=protocol, port=port, family=family_of(other))
    into = replace(out, source=them, destination=me)
    egress = evaluate(world.cluster, world.policies, out).egress
    ingress = evaluate(world.cluster, world.policies, into).ingress
    sides = compiled.sides.get(pod.key, Sides())

    assert egress is not None
    assert egress.is_allowed == says(compiled, sides.egress, other, protocol, port), out
    assert ingress is not None
    assert ingress.is_allowed == says(compiled, sides.ingress, other, protocol, port), into


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_what_a_pod_opens_to_its_own_node_is_judged_by_cluster_policies_alone(data):
    world = data.draw(worlds())
    compiled, held = compile_world(world, HERE)
    node = world.cluster.nodes.get(HERE)

    for pod in held if node else ():
        families = {family_of(a) for a in pod.addresses} & {family_of(a) for a in node.addresses}
        for family in sorted(families, key=lambda one: one.value):
            there = next(a for a in node.addresses if family_of(a) is family)
            flow = Flow(
                source=PodEnd(pod=pod.key),
                destination=NodeEnd(node=node.name),
                port=80,
                family=family,
            )
            truth = evaluate(world.cluster, world.policies, flow).egress
            sides = compiled.sides.get(pod.key, Sides())
            assert truth is not None
            assert truth.is_allowed == says(compiled, sides.own_node, there, Protocol.TCP, 80)


@settings(max_examples=120, deadline=None)
@given(histories(), st.sampled_from([HERE, None]))
def test_any_history_ends_where_a_fresh_compile_of_its_end_does(history, node):
    compiler = Compiler(node, everybody=node is None)
    state = State()
    for change in chain.from_iterable(history):
        state.apply(change)

    for batch in history:
        compiler.apply(batch)
    fresh = Compiler(node, everybody=node is None)
    fresh.apply(reversed(state.changes()))

    assert canonical(compiler.compiled()) == canonical(fresh.compiled())


@settings(max_examples=80, deadline=None)
@given(histories(), st.sampled_from([HERE, None]))
def test_changes_add_up_to_what_is_compiled(history, node):
    compiler = Compiler(node, everybody=node is None)
    seen = Compiled()

    for batch in history:
        seen = changed(seen, compiler.apply(batch))

        assert seen == compiler.compiled()


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_number_never_means_something_else(history):
    compiler = Compiler(HERE)
    meant: dict[object, object] = {}
    for batch in history:
        compiler.apply(batch)
        for number, rule_set in compiler.compiled().rule_sets.items():
            for class_id, ports in rule_set.verdicts.items():
                assert meant.setdefault((number, class_id), ports) == ports
            said = (rule_set.direction, rule_set.default)
            assert meant.setdefault(number, said) == said


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_host_without_an_entry_may_be_judged_by_the_net_around_it(history):
    compiler = Compiler(HERE)
    for batch in history:
        compiler.apply(batch)
    compiled = compiler.compiled()

    for address, class_id in compiled.hosts.items():
        around = class_of(Compiled(nets=compiled.nets), address)
        for rule_set in compiled.rule_sets.values():
            if class_id not in rule_set.verdicts:
                assert around not in rule_set.verdicts


@settings(max_examples=50, deadline=None)
@given(histories())
def test_the_same_again_changes_nothing(history):
    compiler = Compiler(HERE)
    state = State()
    for batch in history:
        compiler.apply(batch)
        for change in batch:
            state.apply(change)

    assert not compiler.apply(state.changes())


@settings(max_examples=50, deadline=None)
@given(histories())
def test_nets_are_disjoint_and_ascending(history):
    compiler = Compiler(HERE)
    for batch in history:
        compiler.apply(batch)

    for family in Family:
        spans = [(n.first, n.last) for n in compiler.compiled().nets if n.family is family]
        assert all(first <= last for first, last in spans)
        assert all(a[1] < b[0] for a, b in pairwise(spans))
