"""Whatever the cluster, the policies and their history: the maps of eBPF say the same."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.model.errors import UsageError
from terway.model.policy_maps import Steps
from terway.policy.bpf.answers import BpfAnswers
from terway.policy.bpf.lift import lift
from terway.policy.bpf.paper import PaperMaps
from terway.policy.bpf.verify import verify
from terway.policy.bpf.writer import Endpoints, Writer
from terway.policy.cluster import Protocol
from terway.policy.compiled import Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow, PodEnd
from tests.support.policy_histories import histories
from tests.support.policy_worlds import flows, worlds
from tests.support.small_clusters import HERE, OUTSIDE, POD_ADDRESSES, POD_ADDRESSES_6

_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_ADDRESSES = (*POD_ADDRESSES, *POD_ADDRESSES_6, *OUTSIDE)


@given(st.data())
@_FEW
def test_the_maps_answer_as_the_model_does(data):
    world = data.draw(worlds())
    answers = BpfAnswers(world.cluster, world.policies)
    for flow in data.draw(st.lists(flows(world), min_size=10, max_size=30)):
        try:
            wanted = evaluate(world.cluster, world.policies, flow).is_allowed
        except UsageError:
            with pytest.raises(UsageError):
                answers.allowed(flow)
        else:
            assert answers.allowed(flow) is wanted, flow


@given(worlds(), st.sampled_from(Protocol), st.integers(1, 5))
@_FEW
def test_a_pod_meets_itself_by_a_service_as_cluster_policies_say(world, protocol, port):
    answers = BpfAnswers(world.cluster, world.policies)
    for key in world.cluster.pods:
        pod = PodEnd(pod=key)
        flow = Flow(source=pod, destination=pod, protocol=protocol, port=port, via_service=True)
        try:
            wanted = evaluate(world.cluster, world.policies, flow).is_allowed
        except UsageError:
            continue  # it has no address, or another one has it now
        assert answers.allowed(flow) is wanted, flow


class Node:
    """A node's maps on paper, and who writes them."""

    def __init__(self) -> None:
        self.maps = PaperMaps()
        self.writer = Writer()
        self.compiler = Compiler(HERE)
        self.endpoints: Endpoints = {}

    @property
    def wish(self) -> Compiled:
        return self.compiler.compiled()

    def differences(self) -> tuple[str, ...]:
        return verify(self.wish, self.endpoints, lift(self.maps.read()))

    def seat(self, random: Random) -> None:
        pods = [pod for pod in sorted(self.wish.sides) if random.random() < 0.9]
        numbers = {pod: 10 + 2 * place for place, pod in enumerate(sorted(self.wish.sides))}
        self.endpoints = {
            pod: (numbers[pod], numbers[pod] + 1)[: random.choice((1, 2))] for pod in pods
        }

    def carry_out(self, steps: Steps) -> None:
        self.maps.remove(steps.clear)
        self.maps.put(steps.make)
        if steps.switch is not None:
            self.maps.switch(steps.switch)

    def restart(self) -> None:
        self.writer = Writer()
        self.adopt()

    def adopt(self) -> None:
        self.carry_out(self.writer.adopt(self.wish, self.endpoints, self.maps.read()))

    def tidy(self) -> None:
        if self.writer.set_aside():
            self.maps.remove(self.writer.clear_away())


@given(histories(), st.randoms(use_true_random=False))
@_FEW
def test_after_every_change_the_maps_say_what_was_compiled(history, random):
    node = Node()
    node.adopt()

    for batch in history:
        change = node.compiler.apply(batch)
        node.seat(random)
        if random.random() < 0.1:
            node.restart()
        else:
            node.carry_out(node.writer.change(change, node.endpoints))
        assert node.differences() == ()
        if random.random() < 0.5:
            node.tidy()
            assert node.differences() == ()
