"""Whatever the cluster, the policies and their history: the maps of eBPF say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.model.errors import UsageError
from terway.model.policy_maps import Content, Generation, Steps
from terway.policy.bpf.answers import BpfAnswers
from terway.policy.bpf.judge import Judge, Question
from terway.policy.bpf.lift import lift
from terway.policy.bpf.paper import PaperMaps
from terway.policy.bpf.verify import verify
from terway.policy.bpf.writer import Endpoints, Writer
from terway.policy.changes import ClusterChange
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow, PodEnd
from tests.support.policy_histories import histories
from tests.support.policy_worlds import flows, worlds
from tests.support.small_clusters import (
    HERE,
    NAMESPACES,
    OUTSIDE,
    POD_ADDRESSES,
    POD_ADDRESSES_6,
    POD_NAMES,
    PORTS,
)

_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_randoms = st.integers(0, 1 << 32).map(Random)
_PODS = [PodKey(namespace=space, name=name) for space in NAMESPACES for name in POD_NAMES]
_SOME = settings(_FEW, max_examples=25)
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
    """A node's maps on paper, who writes them, and packets that began at some moment."""

    def __init__(self, random: Random) -> None:
        self.maps = PaperMaps()
        self.writer = Writer()
        self.compiler = Compiler(HERE)
        self.endpoints: Endpoints = {}
        self._random = random
        self._asked = random.sample(_QUESTIONS, 30)
        self._on_their_way: dict[Generation, tuple[bool, ...]] = {}
        self.adopt()

    @property
    def wish(self) -> Compiled:
        return self.compiler.compiled()

    def differences(self) -> tuple[str, ...]:
        return verify(self.wish, self.endpoints, lift(self.maps.read()))

    def seat(self) -> None:
        pods = [pod for pod in sorted(self.wish.sides) if self._random.random() < 0.9]
        count = self._random.choice((1, 2))
        self.endpoints = {pod: _numbers(pod)[:count] for pod in pods}

    def change(self, batch: Sequence[ClusterChange]) -> Steps:
        change = self.compiler.apply(batch)
        self.seat()
        return self.writer.change(change, self.endpoints)

    def adopt(self) -> None:
        self.carry_out(self.writer.adopt(self.wish, self.endpoints, self.maps.read()))

    def restart(self) -> None:
        self.writer = Writer()
        self.adopt()

    def carry_out(self, steps: Steps) -> None:
        """Do it as the kernel does, entry by entry; packets are on their way all the time."""
        if steps.is_again:
            self.let_out()
        self.maps.remove(steps.clear)
        for part in _parts(steps.make, self._random):
            self.maps.put(part)
            if self._random.random() < 0.1:
                self.look()
        self.look()
        if steps.switch is not None:
            self.maps.switch(steps.switch)
        self.look()

    def answers(self, content: Content, generation: Generation) -> tuple[bool, ...]:
        judge = Judge(content, generation)
        return tuple(judge.allows(one) for one in self._asked)

    def let_out(self) -> None:
        self._on_their_way.clear()

    def look(self) -> None:
        """Each packet on its way meets what one that began with it met; another one begins."""
        content = self.maps.read()
        for generation, met in self._on_their_way.items():
            assert self.answers(content, generation) == met
        now = content.generation
        self._on_their_way.setdefault(now, self.answers(content, now))

    def tidy(self, meanwhile: Sequence[ClusterChange] = ()) -> None:
        if self.writer.set_aside():
            out = self._on_their_way.keys() - {self.maps.generation}
            if meanwhile:
                self.carry_out(self.change(meanwhile))
            for generation in out & self._on_their_way.keys():
                del self._on_their_way[generation]
            self.maps.remove(self.writer.clear_away())
        self.look()


def _numbers(pod: PodKey) -> tuple[int, int]:
    place = 2 * _PODS.index(pod)
    return place + 1, place + 2


def _parts(make: Content, random: Random) -> Iterator[Content]:
    """Yield the entries one by one, in any order."""
    parts = [Content(nets_turn=make.nets_turn)]
    parts += [Content(sides={key: turn}) for key, turn in make.sides.items()]
    parts += [Content(hosts={key: turn}) for key, turn in make.hosts.items()]
    parts += [Content(nets={key: one}) for key, one in make.nets.items()]
    parts += [Content(verdicts={key: word}) for key, word in make.verdicts.items()]
    parts += [Content(pages={key: page}) for key, page in make.pages.items()]
    random.shuffle(parts)
    yield from parts


_QUESTIONS = [
    Question(endpoint=endpoint, other=other, protocol=protocol, port=port, is_opener=is_opener)
    for endpoint in range(1, 2 * len(_PODS) + 1)
    for other in _ADDRESSES
    for protocol, port in ((Protocol.TCP, PORTS[0]), (Protocol.OTHER, 0))
    for is_opener in (True, False)
]


@given(histories(), _randoms)
@_SOME
def test_after_every_change_the_maps_say_what_was_compiled(history, random):
    """bug classes 46 and 48: and no packet meets half of a change, at a restart neither"""
    node = Node(random)

    for batch in history:
        if random.random() < 0.2:
            node.compiler.apply(batch)
            node.seat()
            node.restart()
        elif random.random() < 0.3:
            node.tidy(meanwhile=batch)
        else:
            node.carry_out(node.change(batch))
        assert node.differences() == ()

    node.tidy()
    node.tidy()
    fresh = Writer().adopt(node.wish, node.endpoints, Content()).make
    assert _size(node.maps.read()) == _size(fresh)


def _size(content: Content) -> tuple[int, ...]:
    maps = (content.sides, content.hosts, content.nets, content.verdicts, content.pages)
    return tuple(len(one) for one in maps)


@given(histories(), _randoms)
@_SOME
def test_a_change_that_fails_half_way_is_not_in_force_and_the_next_one_is_whole(history, random):
    """bug class 54"""
    node = Node(random)

    for batch in history:
        steps = node.change(batch)
        parts = list(_parts(steps.make, random))
        if steps.is_again:
            node.let_out()
        for part in parts[: random.randrange(len(parts) + 1)]:
            node.maps.put(part)
        node.look()
        node.adopt()
        assert node.differences() == ()


@given(histories(), st.data(), _randoms)
@_SOME
def test_whatever_somebody_changes_in_the_maps_is_told(history, data, random):
    node = Node(random)
    for batch in history:
        node.carry_out(node.change(batch))
    node.tidy()
    before = node.maps.read()

    held = data.draw(st.sampled_from(_MAPS))
    entries = getattr(node.maps, held)
    if not entries:
        return
    key = data.draw(st.sampled_from(sorted(entries, key=repr)))
    if data.draw(st.booleans()):
        del entries[key]
    else:
        entries[key] = entries[data.draw(st.sampled_from(sorted(entries, key=repr)))]

    after = node.maps.read()
    if _all_answers(before) != _all_answers(after):
        assert node.differences() != ()
    node.adopt()
    assert node.differences() == ()


def _all_answers(content: Content) -> tuple[bool, ...]:
    judge = Judge(content)
    return tuple(judge.allows(one) for one in _QUESTIONS)


_MAPS = ("sides", "hosts", "nets", "verdicts", "pages")
