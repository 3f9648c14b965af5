"""What the cloud allows this instance is kept for the next start, and does not grow stale."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from terway.agent.instance import (
    ASK_EVERY_S,
    Allowance,
    InstanceFile,
    Known,
    Place,
    keep_allowance_current,
    read_allowance,
)
from terway.lab.cloud.faults import Fault
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.model.ids import InstanceId, RegionId
from tests.support.cloud_world import REGION, ZONE, CloudWorld, make_world
from tests.support.virtual_time import run_virtually, virtual_clock

TYPE = "ecs.g7.xlarge"


def place_of(world: CloudWorld, **changes: str) -> Place:
    said = {"instance_id": world.instance_id, "instance_type": TYPE, **changes}
    return Place(
        instance_id=InstanceId(said["instance_id"]),
        instance_type=said["instance_type"],
        region_id=RegionId(REGION),
        zone_id=ZONE,
        vswitch_id=world.node_vswitch,
    )


async def first_start(world: CloudWorld) -> Known:
    place = place_of(world)
    client = inprocess_ecs_client(world.cloud)
    return Known(place=place, allowance=await read_allowance(client, place, None))


async def test_what_is_kept_needs_no_call():
    world = make_world(instance_type=TYPE)
    known = await first_start(world)
    before = world.cloud.calls.count()

    again = await read_allowance(inprocess_ecs_client(world.cloud), known.place, known)

    assert again == known.allowance
    assert world.cloud.calls.count() == before


async def test_another_type_has_other_limits():
    """Bug class 15: the instance was made larger while it was stopped."""
    world = make_world(instance_type=TYPE)
    known = await first_start(world)
    larger = place_of(world, instance_type="ecs.g7.8xlarge")

    now = await read_allowance(inprocess_ecs_client(world.cloud), larger, known)

    assert known.allowance is not None
    assert now.limits.eni_quantity > known.allowance.limits.eni_quantity


@pytest.mark.parametrize("refusals", [0, 2])
def test_limits_that_the_cloud_changed_are_known_at_the_next_start(tmp_path, refusals):
    """Bug class 15: limit tables go stale, and so would what was once kept."""
    world = make_world(instance_type=TYPE)
    file = InstanceFile(tmp_path / "instance.json")

    async def scenario():
        known = await first_start(world)
        assert known.allowance is not None
        stale = Known(place=known.place, allowance=with_fewer_enis(known.allowance))
        file.write(stale)
        for _ in range(refusals):
            world.cloud.faults.add(Fault(code="ServiceUnavailable", status=503))
        client = inprocess_ecs_client(world.cloud)

        asking = asyncio.create_task(keep_allowance_current(client, file, stale))
        await asyncio.sleep(ASK_EVERY_S * (refusals + 1))
        asking.cancel()

        kept = file.read()
        assert kept == known
        assert await read_allowance(client, known.place, kept) == known.allowance

    run_virtually(scenario())


def with_fewer_enis(allowance: Allowance) -> Allowance:
    limits = replace(allowance.limits, eni_quantity=allowance.limits.eni_quantity - 1)
    return structs.replace(allowance, limits=limits)


def test_nodes_that_start_together_do_not_ask_together(tmp_path):
    """Bug class 8: a thundering herd."""
    asked_at: set[float] = set()

    async def ask(number: int) -> None:
        world = make_world(instance_type=TYPE)
        known = Known(place=place_of(world, instance_id=f"i-{number}"))

        async def sleep(delay_s: float) -> None:
            asked_at.add(virtual_clock() + delay_s)
            raise asyncio.CancelledError

        client = inprocess_ecs_client(world.cloud)
        file = InstanceFile(tmp_path / f"{number}.json")
        with pytest.raises(asyncio.CancelledError):
            await keep_allowance_current(client, file, known, sleep=sleep)

    async def scenario():
        for number in range(20):
            await ask(number)

    run_virtually(scenario())

    assert max(asked_at) - min(asked_at) > ASK_EVERY_S / 2
    assert len(asked_at) == 20
