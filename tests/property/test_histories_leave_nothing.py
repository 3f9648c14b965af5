"""After many pods have come and gone, terwayd remembers no more than after a few.

Bug class 55: what grows with every pod that ever was ends in the memory limit.
"""

from __future__ import annotations

import gc
import types
from collections import Counter

import pytest

from terway.lab.faults.events import AddPod, DeletePod, Event
from terway.lab.faults.run import run_schedule
from terway.lab.faults.schedule import Schedule, Shape
from terway.lab.faults.world import World

FEW, MANY = 4, 16  # waves of pods, three in each
REMEMBERED_EVENTS = 4  # in place of thousands: that they are bounded is what counts
OTHERS = ("terway.lab", "terway.store.memory", "terway.linux.memory", "asyncio", "_asyncio")
SHAPES = {
    "shared": Shape(),
    "exclusive": Shape(exclusive=True, max_free=2),
    "prefixes": Shape(prefixes=2),
}


def history(shape: Shape, waves: int) -> Schedule:
    """Return a history in which pods come and go for the same time, in few waves or in many."""
    events: list[Event] = []
    for wave in range(waves):
        for pod in (f"{wave}-{number}" for number in range(3)):
            at = 400.0 * wave / waves
            networks = 1 if shape.exclusive else 1 + pod.endswith("2")
            events.append(AddPod(at=at, container=pod, pod=pod, networks=networks, megabits=10))
            events.append(DeletePod(at=at + 5.0, container=pod))
    return Schedule(seed=1, length_s=1000.0, shape=shape, events=tuple(events))


def remembered(world: World) -> Counter[str]:
    """Return how many objects of each type terwayd leads to, without the world around it."""
    seen: dict[int, object] = {}
    todo: list[object] = [world.nodes[0].terwayd]
    while todo:
        one = todo.pop()
        if id(one) in seen or _is_not_its_own(one):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
    return Counter(type(one).__qualname__ for one in seen.values())


def _is_not_its_own(one: object) -> bool:
    if isinstance(one, type | types.ModuleType | types.FunctionType | types.CodeType):
        return True
    return type(one).__module__.startswith(OTHERS)


def ending(schedule: Schedule) -> Counter[str]:
    found: list[Counter[str]] = []
    outcome = run_schedule(schedule, look=lambda world: found.append(remembered(world)))
    assert outcome.failures == ()
    return found[0]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_terwayd_remembers_no_more_of_many_pods_than_of_few(shape, monkeypatch):
    monkeypatch.setattr("terway.kube.events._MEMORY_LIMIT", REMEMBERED_EVENTS)

    few, many = ending(history(shape, FEW)), ending(history(shape, MANY))

    grown = {name: n - few[name] for name, n in many.items() if n - few[name] > MANY - FEW}
    assert not grown
