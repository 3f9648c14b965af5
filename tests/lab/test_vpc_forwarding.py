"""Real packets through the fabric: instances in namespaces, ping and TCP of the kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from terway.lab.vpc.fabric import Fabric
from tests.support.instances import (
    NODES,
    PODS,
    Instance,
    make_instance,
    port,
    remove_instance,
    vpc_state,
)

pytestmark = pytest.mark.root


@pytest.fixture
async def fabric(tmp_path: Path) -> AsyncIterator[Fabric]:
    async with Fabric(run_dir=tmp_path, map_sizes={"flows": 1024}) as opened:
        yield opened


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[Callable[[str], Instance]]:
    made: list[Instance] = []

    def make(name: str) -> Instance:
        made.append(make_instance(name, tmp_path))
        return made[-1]

    yield make
    for one in made:
        remove_instance(one)


async def two_instances(fabric, instances, *, second=NODES):
    a, b = port(10), port(11, vswitch=second)
    one, other = instances("i-10"), instances("i-11")
    await fabric.bind(one.id, one.netns)
    await fabric.bind(other.id, other.netns)
    await fabric.apply(vpc_state(a, b))
    one.configure(a, NODES)
    other.configure(b, second)
    return one, other, a, b


@pytest.mark.parametrize("second", [NODES, PODS], ids=["same vSwitch", "other vSwitch"])
async def test_two_instances_reach_each_other_in_both_families(fabric, instances, second):
    one, other, a, b = await two_instances(fabric, instances, second=second)

    reached = [one.can_reach(b.ipv4[0]), one.can_reach(b.ipv6[0]), other.can_reach(a.ipv4[0])]

    print(await fabric.counters())
    assert reached == [True, True, True]
