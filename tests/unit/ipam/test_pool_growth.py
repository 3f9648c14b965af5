"""The pool asks the cloud for what pods need, once and in few calls."""

from __future__ import annotations

from terway.ipam.commands import AssignAddresses, CreateENI, FlushConntrack
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import World, owner


def settled(**changes) -> World:
    world = World(**changes)
    world.sleep(0)
    world.settle()
    return world


def test_pods_that_arrive_together_get_one_eni_by_one_call():
    world = settled()

    for number in range(5):
        world.acquire(number)
    world.wake()

    (create,) = world.commands(CreateENI)
    assert (create.intent.ipv4_count, create.intent.ipv6_count) == (5, 5)


def test_every_owner_gets_a_pair_of_its_own_on_one_eni():
    world = settled()

    for number in range(8):
        world.acquire(number)
    world.settle()

    pairs = [tuple(lease.addresses) for lease in world.leases.values()]
    assert len(pairs) == 8
    assert len({ip for pair in pairs for ip in pair}) == 16
    for lease in world.leases.values():
        eni = world.cloud.enis[lease.eni_id]
        assert lease.addresses.v4 in eni.ipv4
        assert lease.addresses.v6 in eni.ipv6


def test_demand_is_counted_once_while_calls_are_under_way():
    world = settled(min_free=3, max_free=3)
    before = world.cloud.mutating_calls

    for number in range(3):
        world.acquire(number)
    world.settle()

    # 3 were free, 3 more are assigned: one call for each family
    assert world.cloud.mutating_calls - before == 2
    assert world.free_pairs() == 3


def test_an_eni_is_filled_before_another_is_created():
    world = settled()
    world.acquire(0)
    world.settle()

    for number in range(1, 6):
        world.acquire(number)
    world.wake()

    assert [one.intent.count for one in world.commands(AssignAddresses)] == [5]
    assert not world.commands(CreateENI)


def test_room_on_an_eni_that_is_being_created_is_waited_for():
    world = settled(cloud=ModelCloud(per_eni=15))
    for number in range(10):
        world.acquire(number)
    world.wake()

    for number in range(10, 14):
        world.acquire(number)
    world.wake()

    assert len(world.commands(CreateENI)) == 1


def test_several_enis_are_created_side_by_side_when_one_cannot_hold_the_demand():
    world = settled()

    for number in range(12):
        world.acquire(number)
    world.wake()

    assert [one.intent.ipv4_count for one in world.commands(CreateENI)] == [6, 6]


def test_a_call_that_must_be_made_anyway_fills_the_pool_up_to_max_free():
    world = settled(min_free=0, max_free=4)

    world.acquire(0)
    world.settle()

    assert world.free_pairs() == 4


def test_min_free_is_kept_without_anybody_asking():
    world = settled(min_free=4, max_free=6)

    assert 4 <= world.free_pairs() <= 6


def test_a_retry_gets_the_same_lease():
    world = settled()
    world.acquire(1)
    world.settle()
    first = world.leases[owner(1)]

    world.acquire(1)

    assert world.leases[owner(1)] == first


def test_an_owner_that_gave_up_gets_nothing_and_its_address_serves_the_next():
    world = settled(max_free=1)
    world.acquire(1)
    world.wake()

    world.withdraw(1)
    world.settle()
    world.acquire(2)

    assert set(world.leases) == {owner(2)}


def test_a_full_node_refuses_at_once_and_says_so():
    world = settled(cloud=ModelCloud(eni_slots=1, per_eni=2))
    for number in range(2):
        world.acquire(number)
    world.settle()

    world.acquire(2)

    assert "all 2 addresses" in world.refused[owner(2)].reason


def test_who_comes_first_is_served_first():
    world = settled(cloud=ModelCloud(eni_slots=1, per_eni=2))

    for number in range(3):
        world.acquire(number)
    world.settle()

    assert set(world.leases) == {owner(0), owner(1)}
    assert set(world.refused) == {owner(2)}


def test_two_hundred_pods_that_come_and_go_cost_few_calls():
    world = settled(cloud=ModelCloud(eni_slots=3, per_eni=15), min_free=0, max_free=5)
    world.cloud.calls.clear()

    for wave in range(10):
        numbers = range(wave * 20, wave * 20 + 20)
        for number in numbers:
            world.acquire(number)
        while world.pool.waiting:
            if world.pending:
                world.perform()
            else:
                world.wake()
        for number in numbers:
            world.release(number)
        world.sleep(3)

    assert world.cloud.calls.total() <= 20, world.cloud.calls


def test_a_resting_address_is_flushed_before_a_call_is_made():
    world = settled()
    world.acquire(1)
    world.settle()
    world.release(1)

    world.acquire(2)

    (flush,) = world.commands(FlushConntrack)
    assert len(flush.addresses) == 2
    world.perform(world.pending.index(flush))
    assert owner(2) in world.leases


def test_a_node_without_room_for_enis_says_so():
    world = settled(max_enis=0)

    world.acquire(1)

    assert "leave this node no ENI" in world.refused[owner(1)].reason
