"""All pods are looked into at first, then each in its turn, and at once when somebody asks."""

from __future__ import annotations

from terway.agent.ground import Ground
from terway.agent.looks import Looks
from terway.model.attachment import AttachmentKey
from terway.model.ids import ContainerId


def keys(count):
    names = (ContainerId(f"c{number:03d}") for number in range(count))
    return [AttachmentKey(container_id=name, ifname="eth0") for name in names]


def test_after_the_first_time_every_pod_has_its_turn_in_ten_periods():
    looks, pods = Looks(), keys(25)

    assert looks.take_turn(pods) == frozenset(pods)
    turns = [looks.take_turn(pods) for _ in range(10)]

    assert frozenset().union(*turns) == frozenset(pods)
    assert max(map(len, turns)) == 3


def test_pods_that_came_have_their_turn_and_those_that_went_are_forgotten():
    looks, pods = Looks(), keys(25)
    looks.take_turn(pods[:20])

    assert looks.take_turn(pods) <= frozenset(pods[20:])
    assert looks.take_turn([]) == frozenset()


def test_those_of_which_nobody_hears_have_their_turn_each_time():
    looks, pods = Looks(), keys(30)

    turns = [looks.take_turn(pods, unheard=pods[7:9]) for _ in range(11)]

    assert all(turn.issuperset(pods[7:9]) for turn in turns)
    assert all(len(turn) <= 5 for turn in turns[1:])


async def test_what_is_asked_for_is_taken_once():
    looks, (one, *_) = Looks(), keys(3)
    looks.ask_pod(one)
    await looks.wait_asked()

    assert not looks.is_node_asked
    assert looks.take_pods() == {one}
    assert looks.take_pods() == frozenset()


def test_a_namespace_that_is_a_pods_is_looked_into_and_another_is_a_stranger_for_a_while():
    looks, (one, *_) = Looks(), keys(3)
    looks.ask_namespace(4)
    looks.ask_namespace(5)

    assert looks.is_node_asked
    looks.learn(Ground(pods={4: one}))

    assert looks.take_pods() == {one}
    assert looks.strangers == {5}
    looks.take_turn([one])
    assert looks.strangers == frozenset()
