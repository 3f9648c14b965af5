"""Each vSwitch policy does what its name says, among those that can serve."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from terway.ipam.choice import NoVSwitch, choose_vswitch
from terway.ipam.settings import VSwitchPolicy
from terway.ipam.values import Hold, VSwitchState
from tests.support.model_cloud import ModelCloud, vswitch
from tests.support.pool_world import pool_config


def known(*available: int, zones: tuple[str, ...] = ("zone-a",) * 9) -> dict:
    found = {}
    for number, (count, zone) in enumerate(zip(available, zones, strict=False), start=1):
        one = vswitch(number, zone=zone)
        found[one.id] = VSwitchState(vswitch=one, available=count, read_at=0.0)
    return found


def choose(policy: VSwitchPolicy, states: dict, *, draw: int = 0, now: float = 1.0):
    config = pool_config(ModelCloud(), vswitch_policy=policy, vswitch_ids=tuple(states))
    return choose_vswitch(config, states, draw=draw, now=now)


def test_ordered_takes_the_first_with_room():
    assert choose(VSwitchPolicy.ORDERED, known(0, 3, 50)).vswitch.id == "vsw-2"


def test_most_takes_the_emptiest():
    assert choose(VSwitchPolicy.MOST, known(3, 50, 10)).vswitch.id == "vsw-2"


def test_random_takes_each_now_and_then():
    draws = [choose(VSwitchPolicy.RANDOM, known(5, 5, 5), draw=n).vswitch.id for n in range(300)]

    assert min(Counter(draws).values()) > 60


@pytest.mark.parametrize("policy", VSwitchPolicy)
def test_a_vswitch_of_another_zone_is_never_taken(policy):
    states = known(100, 1, zones=("zone-b", "zone-a"))

    assert choose(policy, states).vswitch.id == "vsw-2"


def test_dual_stack_needs_a_vswitch_with_an_ipv6_range():
    states = known(9, 9)
    first = states[vswitch(1).id]
    states[vswitch(1).id] = replace(first, vswitch=replace(first.vswitch, ipv6_cidr=None))

    assert choose(VSwitchPolicy.ORDERED, states).vswitch.id == "vsw-2"


def test_a_held_vswitch_is_passed_over_until_its_hold_ends():
    states = known(9, 9)
    first = states[vswitch(1).id]
    hold = Hold(until=100.0, reason="full")
    states[vswitch(1).id] = VSwitchState(vswitch=first.vswitch, available=9, read_at=0.0, hold=hold)

    assert choose(VSwitchPolicy.ORDERED, states, now=50.0).vswitch.id == "vsw-2"
    assert choose(VSwitchPolicy.ORDERED, states, now=100.0).vswitch.id == "vsw-1"


def test_when_there_is_none_every_vswitch_is_named_with_its_reason():
    states = known(0, 5, zones=("zone-a", "zone-b"))
    config = pool_config(ModelCloud(), vswitch_ids=(*states, "vsw-9"))

    none = choose_vswitch(config, states, draw=0, now=1.0)

    assert isinstance(none, NoVSwitch)
    assert none.reason == (
        "vsw-1 has no free address; vsw-2 is in zone zone-b, the node in zone-a; "
        "vsw-9 is not known to the cloud"
    )
