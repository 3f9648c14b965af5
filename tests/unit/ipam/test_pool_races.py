"""What happens to a pool between a call and its answer: pods come, it dies, people reload."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.ipam.commands import CreateENI, FlushConntrack, UnassignAddresses
from terway.ipam.values import AddressPhase
from terway.model.ids import SecurityGroupId
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import World, owner

POD, NEXT = 1, 2


def ready(**changes) -> World:
    """Return a world whose pool has looked at its cloud."""
    world = World(ModelCloud(eni_slots=1, per_eni=6), **changes)
    world.sleep(0)
    world.work(1)
    return world


def test_an_address_that_is_being_given_back_is_given_to_nobody():
    """Bug class 4: the release of an address races with its allocation.

    Bug class 1: room that becomes free in a moment is no reason to refuse a pod.
    """
    # given addresses that nobody needs, and a call that gives them back
    world = ready(max_free=0)
    for number in range(6):
        world.acquire(number)
    world.work(10)
    for number in range(1, 6):
        world.release(number)
    while not world.commands(UnassignAddresses):
        world.work_on()
    going = {ip for one in world.commands(UnassignAddresses) for ip in one.addresses}

    # when as many pods come as there were before the call is carried out
    for number in range(10, 15):
        world.acquire(number)
    assert not going & {ip for one in world.leases.values() for ip in one.addresses}
    world.settle()

    # then nobody is sent away, and all of them have addresses that the cloud has
    assert not world.refused
    assert len(world.leases) == 6
    assert {ip for one in world.leases.values() for ip in one.addresses} <= world.cloud.addresses()


@pytest.mark.parametrize("after_s", [0.0, 10.0])
def test_an_address_rests_on_when_the_process_ends(after_s):
    """Bug class 5: a cooldown that a restart shortens; class 7: an address that has two owners."""
    world = ready()
    world.acquire(POD)
    world.work(5)
    (resting,) = {one.addresses for one in world.leases.values()}
    world.release(POD)
    world.sleep(after_s)

    world.crash()

    slots = [world.pool.slots[address] for address in resting]
    assert {slot.phase for slot in slots} == {AddressPhase.COOLING}
    world.sleep(world.config.cooldown_s - after_s - 5)
    assert {world.pool.slots[address].phase for address in resting} == {AddressPhase.COOLING}


def test_after_a_restart_an_address_is_given_only_when_its_connections_are_forgotten():
    """Bug class 5, with a pod that waits: the flush that the dead process owed comes first."""
    world = ready(max_free=0)
    for number in range(6):
        world.acquire(number)
    world.work(10)
    before = world.leases[owner(POD)]
    world.release(POD)

    world.crash()
    world.acquire(NEXT + 10)

    while not world.commands(FlushConntrack):
        world.work_on()
    assert owner(NEXT + 10) not in world.leases
    world.settle()
    assert world.leases[owner(NEXT + 10)] == before


def test_a_create_that_is_repeated_after_a_reload_says_what_it_said_at_first():
    """Bug class 13: a client token that is sent again with other parameters is refused."""
    world = ready()
    world.acquire(POD)
    world.wake()
    (first,) = world.commands(CreateENI)
    world.lose_answer(world.pending.index(first))

    (made,) = world.cloud.enis
    world.configure(security_group_ids=(SecurityGroupId("sg-new"),))
    while not world.commands(CreateENI):
        world.work_on()

    (again,) = world.commands(CreateENI)
    assert again.intent.token == first.intent.token
    world.work(5)
    assert world.leases[owner(POD)].eni_id == made
    assert world.cloud.calls["delete_eni"] == 0


def test_a_create_that_is_repeated_after_a_crash_and_a_reload_says_what_it_said_at_first():
    """Bug class 13, where the configuration changed while no process was there."""
    world = ready()
    world.acquire(POD)
    world.wake()

    world.config = replace(world.config, security_group_ids=(SecurityGroupId("sg-new"),))
    world.crash(done=lambda command: isinstance(command, CreateENI))
    world.work(5)

    assert set(world.pool.enis) == set(world.cloud.enis)
    assert world.cloud.calls["create_eni"] == 2  # the second was answered like the first
    assert world.cloud.calls["delete_eni"] == 0
