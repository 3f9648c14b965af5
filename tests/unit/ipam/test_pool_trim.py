"""What is not needed goes back, late and in large pieces; what is needed never does."""

from __future__ import annotations

from terway.ipam.commands import DetachENI, UnassignAddresses
from terway.ipam.values import AddressPhase
from terway.model.address import Family
from terway.model.ids import ClientToken
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import World


def world_of(pods: int, **changes) -> World:
    """Return a world in which that many pods came."""
    world = World(ModelCloud(eni_slots=3, per_eni=6), **changes)
    world.sleep(0)
    world.work(1)
    for number in range(pods):
        world.acquire(number)
    world.work(10)
    assert len(world.leases) == pods
    return world


def test_a_surplus_is_kept_for_a_while_because_pods_come_back():
    world = world_of(6, max_free=1)
    calls = world.cloud.mutating_calls

    for number in range(6):
        world.release(number)
    world.work(world.config.cooldown_s + world.config.trim_after_s - 1)
    assert world.cloud.mutating_calls == calls

    world.work(3)
    assert world.cloud.mutating_calls > calls


def test_addresses_above_max_free_go_back():
    world = world_of(6, max_free=2)

    for number in range(1, 6):
        world.release(number)
    world.settle()

    assert world.free_pairs() == 2


def test_idle_enis_go_whole():
    world = world_of(12, max_free=0)
    assert len(world.cloud.enis) == 2

    for number in range(12):
        world.release(number)
    world.work(200)

    assert world.cloud.enis == {}
    assert world.cloud.calls["unassign_ipv4"] == 0


def test_the_primary_address_stays_as_long_as_its_eni():
    world = world_of(2, max_free=0)
    (eni,) = world.cloud.enis.values()
    primary = next(k for k, one in world.leases.items() if one.addresses.v4 == eni.primary_ipv4)

    world.release_key(primary)
    world.settle()

    (eni,) = world.cloud.enis.values()
    assert eni.primary_ipv4 in eni.ipv4
    assert world.free_pairs() == 1


def test_retiring_addresses_are_given_to_nobody():
    """Bug class 4."""
    world = world_of(4, max_free=0)
    for number in range(1, 4):
        world.release(number)
    world.work(world.config.cooldown_s + 1)
    while not world.commands(UnassignAddresses):
        world.wake()
    retiring = {s.address for s in world.pool.slots.values() if s.phase is AddressPhase.RETIRING}

    world.acquire(9)
    world.work(5)

    assert retiring
    assert not retiring & {ip for lease in world.leases.values() for ip in lease.addresses}


def test_a_crash_in_the_middle_of_a_retreat_finishes_it():
    world = world_of(6, max_free=0)
    for number in range(6):
        world.release(number)
    world.work(world.config.cooldown_s + 1)
    while not world.commands(DetachENI):
        world.wake()

    world.crash()
    world.settle()

    assert world.cloud.enis == {}


def test_addresses_without_a_partner_in_the_other_family_go_back():
    world = world_of(1, max_free=0)
    (eni,) = world.cloud.enis.values()
    world.cloud.assign_ipv6(eni.id, 3, token=ClientToken("by hand"))

    world.settle()
    world.sleep(130)
    world.settle()

    (eni,) = world.cloud.enis.values()
    assert len(eni.ipv6) == 1


def test_a_pool_that_nobody_touches_shrinks_to_min_free_step_by_step():
    world = World(
        ModelCloud(eni_slots=1, per_eni=10),
        families=(Family.V4,),
        min_free=1,
        max_free=8,
        reclaim_after_s=3600.0,
        reclaim_interval_s=600.0,
        reclaim_batch=3,
        reclaim_jitter=0.0,
    )
    world.sleep(0)
    world.work(1)
    world.acquire(1)
    world.work(5)
    assert world.free_pairs() == 7

    sizes: list[int] = []
    for _ in range(5):
        world.work(3601 if not sizes else 601)
        sizes.append(world.free_pairs())

    # The first look that finds it idle only sets the alarm.
    assert sizes == [7, 4, 1, 1, 1]
