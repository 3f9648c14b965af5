"""A node has as many prefixes as it is told, gives their addresses singly, and frees whole ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.ipam.commands import AssignAddresses, FlushConntrack, UnassignPrefixes
from terway.ipam.values import PrefixPhase
from terway.model.address import Family
from terway.store.memory import Disk
from tests.support.model_cloud import ModelCloud, vswitch
from tests.support.pool_world import DUAL, World, owner

V4 = (Family.V4,)


def prefix_world(count: int, *, families=V4, cloud: ModelCloud | None = None, **changes) -> World:
    cloud = cloud or ModelCloud(eni_slots=3, per_eni=4)
    key = "ipv4_prefixes" if Family.V4 in families else "ipv6_prefixes"
    counts = {key: count}
    world = World(cloud, families=families, has_prefixes=True, **counts, **changes)
    world.sleep(0)
    world.settle()
    return world


def fill(world: World, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        world.acquire(number)
    world.settle()


def phases(world: World) -> list[str]:
    return sorted(one.phase.value for one in world.pool.prefixes.values())


def in_cloud(world: World) -> set[object]:
    return {
        one for eni in world.cloud.enis.values() for one in (*eni.ipv4_prefixes, *eni.ipv6_prefixes)
    }


def of(world: World, number: int):
    """Return the prefix that the address of an owner is of."""
    return next(s.prefix for s in world.pool.slots.values() if s.owner == owner(number))


def test_a_node_has_exactly_as_many_prefixes_as_it_is_told():
    world = prefix_world(5)

    assert phases(world) == ["valid"] * 5
    assert in_cloud(world) == set(world.pool.prefixes)
    # An ENI of four has its primary address and three prefixes.
    assert sorted(len(eni.ipv4_prefixes) for eni in world.cloud.enis.values()) == [2, 3]


def test_a_call_asks_for_ten_prefixes_at_most():
    world = prefix_world(25, cloud=ModelCloud(eni_slots=1, per_eni=40))

    assert phases(world) == ["valid"] * 25
    assert world.cloud.calls["create_eni"] == 1
    assert world.cloud.calls["assign_ipv4_prefixes"] == 2


def test_addresses_come_from_the_fullest_prefix_the_lowest_first():
    world = prefix_world(2, cloud=ModelCloud(eni_slots=1, per_eni=4))

    fill(world, 21)

    used = [of(world, n) for n in range(21)]
    first = [one for one in used if one is not None]
    assert len(set(first[:16])) == 1  # the primary address, then one prefix whole
    world.release(3)
    world.work(100)
    fill(world, 1, start=50)
    assert of(world, 50) == of(world, 4)


def test_the_whole_node_can_be_filled_and_then_says_that_it_is_full():
    world = prefix_world(2, cloud=ModelCloud(eni_slots=1, per_eni=3))

    fill(world, 34)

    assert len(world.leases) == 33  # two prefixes and the primary address
    (refused,) = world.refused.values()
    assert "2 prefixes" in refused.reason


def test_fewer_prefixes_drain_and_go_as_they_become_empty():
    world = prefix_world(3, cloud=ModelCloud(eni_slots=1, per_eni=4))
    fill(world, 40)
    before = dict(world.leases)

    world.configure(ipv4_prefixes=1)
    world.settle()

    assert phases(world) == ["draining", "draining", "valid"]
    assert world.leases == before
    for number in range(1, 40):
        world.release(number)
    world.settle()
    assert phases(world) == ["valid"]
    assert in_cloud(world) == set(world.pool.prefixes)


def test_a_draining_prefix_gives_no_address_and_is_taken_back_first():
    world = prefix_world(2, cloud=ModelCloud(eni_slots=1, per_eni=3))
    fill(world, 33)
    world.configure(ipv4_prefixes=1)
    draining = next(
        one.network for one in world.pool.prefixes.values() if one.phase is PrefixPhase.DRAINING
    )
    number = next(n for n in range(33) if of(world, n) == draining)
    world.release(number)
    world.acquire(99)
    assert owner(99) in world.refused
    calls = world.cloud.calls["assign_ipv4_prefixes"]

    world.configure(ipv4_prefixes=2)
    world.acquire(99)
    world.settle()

    assert owner(99) in world.leases
    assert world.cloud.calls["assign_ipv4_prefixes"] == calls


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_restart_finds_the_prefixes_and_follows_the_new_count(count):
    world = prefix_world(4)
    fill(world, 20)
    before = dict(world.leases)

    world.config = replace(world.config, ipv4_prefixes=count)
    world.crash()
    world.settle()

    assert world.leases == before
    valid = [one for one in world.pool.prefixes.values() if one.phase is PrefixPhase.VALID]
    assert len(valid) == count
    assert in_cloud(world) == set(world.pool.prefixes)


def test_a_crash_between_an_assignment_and_its_answer_doubles_no_prefix():
    world = prefix_world(1)
    world.configure(ipv4_prefixes=3)
    while not world.commands(AssignAddresses):
        world.work_on()

    world.crash(lambda command: isinstance(command, AssignAddresses))
    world.settle()

    assert len(in_cloud(world)) == 3
    assert in_cloud(world) == set(world.pool.prefixes)


def test_a_crash_while_a_prefix_goes_finishes_it():
    world = prefix_world(3)
    world.configure(ipv4_prefixes=2)
    while not world.commands(UnassignPrefixes):
        world.work_on()

    world.crash()
    world.settle()

    assert len(in_cloud(world)) == 2
    assert in_cloud(world) == set(world.pool.prefixes)


def test_dual_stack_has_one_ipv6_prefix_for_each_eni_with_ipv4_prefixes():
    world = prefix_world(5, families=DUAL)
    fill(world, 60)

    assert [len(eni.ipv6_prefixes) for eni in world.cloud.enis.values()] == [1, 1]
    for lease in world.leases.values():
        v6 = lease.addresses.v6
        assert any(v6 in one for one in world.cloud.enis[lease.eni_id].ipv6_prefixes)


def test_dual_stack_gives_up_enis_that_have_no_prefix_left():
    world = prefix_world(5, families=DUAL)

    world.configure(ipv4_prefixes=3)
    world.work(500)
    world.settle()

    assert [len(eni.ipv4_prefixes) for eni in world.cloud.enis.values()] == [3]
    assert [len(eni.ipv6_prefixes) for eni in world.cloud.enis.values()] == [1]


def test_ipv6_alone_may_have_several_prefixes():
    world = prefix_world(2, families=(Family.V6,))
    fill(world, 3)

    assert len(in_cloud(world)) == 2
    assert len({lease.addresses.v6 for lease in world.leases.values()}) == 3


def test_an_address_of_a_prefix_rests_and_is_flushed_like_any_other():
    """bug class 5"""
    world = prefix_world(1, cloud=ModelCloud(eni_slots=1, per_eni=2))
    fill(world, 17)
    world.release(5)
    world.acquire(30)

    assert owner(30) not in world.leases
    (flush,) = world.commands(FlushConntrack)
    assert len(flush.addresses) == 1
    world.work(1)
    assert owner(30) in world.leases


def test_prefixes_of_unknown_history_rest_before_their_addresses_are_given():
    """bug class 5"""
    world = prefix_world(1)
    (eni,) = world.cloud.enis.values()
    world.disk = Disk()  # the journal is lost

    world.crash()
    world.work(1)
    world.acquire(1)
    world.acquire(2)
    world.work(5)
    assert len(world.leases) < 2  # at most the primary address, flushed

    world.work(world.config.cooldown_s)
    assert len(world.leases) == 2
    assert set(world.cloud.enis) == {eni.id}


def test_a_prefix_that_somebody_took_away_is_replaced_and_its_pods_are_reported():
    world = prefix_world(2, cloud=ModelCloud(eni_slots=1, per_eni=5))
    fill(world, 10)
    (eni,) = world.cloud.enis.values()
    lost = of(world, 5)

    world.cloud.unassign_ipv4_prefixes(eni.id, (lost,))
    world.work(500)

    missing = {s.address for s in world.pool.slots.values() if s.is_missing}
    assert missing == {ip for one in world.leases.values() for ip in one.addresses if ip in lost}
    assert world.pool.prefixes[lost].phase is PrefixPhase.LOST
    for number in range(10):
        world.release(number)
    world.settle()
    assert phases(world) == ["valid", "valid"]
    assert in_cloud(world) == set(world.pool.prefixes)


def test_a_vswitch_without_a_whole_range_is_left_for_another():
    """bug class 10"""
    cloud = ModelCloud((vswitch(1), vswitch(2)), eni_slots=2, per_eni=4)
    cloud.fragmented.add(vswitch(1).id)

    world = prefix_world(2, cloud=cloud)

    assert {eni.vswitch_id for eni in world.cloud.enis.values()} == {vswitch(2).id}
    assert phases(world) == ["valid", "valid"]


def test_where_no_range_is_left_pods_are_told_so_and_prefixes_still_go_back():
    """bug class 9, bug class 10"""
    cloud = ModelCloud((vswitch(1),), eni_slots=1, per_eni=5)
    world = prefix_world(2, cloud=cloud)
    fill(world, 33)
    cloud.fragmented.add(vswitch(1).id)
    world.configure(ipv4_prefixes=3)
    world.work(5)

    world.acquire(50)
    assert "no free prefix" in world.refused[owner(50)].reason

    for number in range(33):
        world.release(number)
    world.configure(ipv4_prefixes=1)
    world.settle()
    assert phases(world) == ["valid"]
    assert len(in_cloud(world)) == 1


def test_scattered_pods_do_not_keep_prefixes_alive_for_ever():
    """bug class 10: what comes later goes to the fullest prefix, so the others become empty"""
    world = prefix_world(4, cloud=ModelCloud(eni_slots=1, per_eni=5))
    fill(world, 64)
    for number in range(64):
        if number % 8:
            world.release(number)
    world.settle()
    world.configure(ipv4_prefixes=2)

    for turn in range(60):  # pods live for eight turns
        world.acquire(100 + turn)
        world.work(40)
        world.release(turn * 8 if turn < 8 else 100 + turn - 8)
        world.work(40)

    assert len(in_cloud(world)) == 2


def test_turning_prefixes_on_gives_single_addresses_back_as_pods_go():
    world = World(ModelCloud(eni_slots=2, per_eni=4), families=V4, min_free=2, max_free=4)
    world.sleep(0)
    fill(world, 5)
    before = dict(world.leases)

    world.configure(has_prefixes=True, ipv4_prefixes=2)
    world.work(5)
    assert world.leases == before
    for number in range(5):
        world.release(number)
    world.work(2000)
    world.settle()

    assert phases(world) == ["valid", "valid"]
    assert all(len(eni.ipv4) == 1 for eni in world.cloud.enis.values())


def test_turning_prefixes_off_drains_them():
    world = prefix_world(2)
    fill(world, 3)

    world.configure(has_prefixes=False, min_free=1, max_free=2)
    world.work(5)
    for number in range(3):
        world.release(number)
    world.work(2000)
    world.settle()

    assert not world.pool.prefixes
    assert not in_cloud(world)
    assert world.free_pairs() >= 1
