"""How large the pool is at first, how it shrinks, and what it packs so that ENIs can go."""

from __future__ import annotations

from dataclasses import replace

from terway.ipam.settings import ENIPolicy, VSwitchPolicy
from terway.ipam.stock import available_in
from terway.model.address import Family
from terway.model.interface import Placement
from tests.support.model_cloud import ModelCloud, vswitch
from tests.support.pool_world import World, owner

V4 = (Family.V4,)


def world_of(*, eni_slots: int = 3, per_eni: int = 4, **changes) -> World:
    cloud = changes.pop("cloud", None) or ModelCloud(eni_slots=eni_slots, per_eni=per_eni)
    world = World(cloud, families=V4, **changes)
    world.sleep(0)
    world.work(5)
    return world


def test_the_pool_warms_up_once_beyond_its_maximum_and_is_trimmed_later():
    world = world_of(per_eni=10, warm_up=8, max_free=2)

    assert world.free_pairs() == 8
    world.work(1000)
    assert world.free_pairs() == 2


def test_a_warm_up_counts_the_pods_that_came_meanwhile():
    world = world_of(per_eni=10, warm_up=8)

    for number in range(3):
        world.acquire(number)
    world.work(5)

    assert world.free_pairs() == 5


def test_a_warm_up_that_was_interrupted_goes_on_and_one_that_ended_does_not_begin_again():
    world = world_of(per_eni=4, warm_up=8, cloud=ModelCloud((vswitch(1, available=4),), per_eni=4))
    assert world.free_pairs() == 4
    state = world.cloud.vswitches[vswitch(1).id]
    world.cloud.vswitches[vswitch(1).id] = replace(state, available_ip_count=100)

    world.crash()
    world.work(700)
    assert world.cloud.calls["create_eni"] >= 2

    world.work(2000)
    assert world.free_pairs() == 0
    world.crash()
    world.work(100)
    assert world.free_pairs() == 0


def test_a_warm_up_asks_for_no_more_than_the_node_can_have():
    world = world_of(eni_slots=1, per_eni=4, warm_up=100, max_free=1)

    assert world.free_pairs() == 4
    assert world.pool.is_warm


def test_a_warm_up_leaves_the_slots_for_rdma_free_and_ends():
    world = world_of(eni_slots=2, per_eni=4, warm_up=100, max_free=1, erdma_enis=1)

    assert world.free_pairs() == 4
    assert world.pool.is_warm


def test_a_warm_up_does_not_wait_for_slots_of_enis_that_serve_others():
    cloud = ModelCloud((vswitch(1), vswitch(2)), eni_slots=2, per_eni=4)
    world = World(cloud, families=V4, vswitch_ids=(vswitch(1).id,), warm_up=8, max_free=1)
    world.acquire(1, Placement(vswitch_ids=(vswitch(2).id,)))
    world.sleep(0)
    world.settle()
    world.sleep(700)
    world.settle()

    assert world.pool.is_warm
    assert world.free_pairs() == 1


def test_a_pod_that_comes_puts_the_reclaim_off():
    world = world_of(
        per_eni=10,
        max_free=8,
        min_free=0,
        warm_up=8,
        reclaim_after_s=600.0,
        reclaim_interval_s=60.0,
        reclaim_jitter=0.0,
        trim_after_s=30.0,
    )
    world.work(630)
    world.acquire(1)
    world.release(1)
    world.work(300)
    assert world.free_pairs() == 8

    world.work(600)
    assert world.free_pairs() < 8


def test_nodes_that_began_together_do_not_reclaim_together():
    times = set()
    for seed in range(5):
        world = world_of(
            per_eni=10,
            warm_up=8,
            max_free=8,
            reclaim_after_s=600.0,
            reclaim_jitter=0.5,
            token_seed=f"node-{seed}",
        )
        world.work(610)
        planned = world.pool.reclaim_at
        assert planned is not None
        assert 600.0 <= planned - (world.pool.touched_at + 600.0) <= 910.0
        times.add(planned)

    assert len(times) == 5


def scattered(policy: ENIPolicy) -> World:
    """Three full ENIs of four, of which most pods go: one stays on each of two."""
    world = world_of(eni_policy=policy, max_free=3, min_free=0, trim_after_s=10_000.0)
    for number in range(12):
        world.acquire(number)
    world.work(30)
    return world


def by_eni(world: World) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number in range(50):
        if owner(number) in world.leases:
            found.setdefault(world.leases[owner(number)].eni_id, []).append(number)
    return found


def test_packing_fills_the_eni_with_most_pods_so_that_others_become_empty():
    world = scattered(ENIPolicy.MOST_IPS)
    first, second, third = sorted(by_eni(world).values())
    for number in (*first[1:], *second[2:], *third[3:]):
        world.release(number)
    world.work(100)

    world.acquire(40)

    assert world.leases[owner(40)].eni_id == world.leases[owner(third[0])].eni_id


def test_spreading_takes_from_the_eni_with_fewest_pods():
    world = scattered(ENIPolicy.LEAST_IPS)
    first, second, third = sorted(by_eni(world).values())
    for number in (*first[1:], *second[2:], *third[3:]):
        world.release(number)
    world.work(100)

    world.acquire(40)

    assert world.leases[owner(40)].eni_id == world.leases[owner(first[0])].eni_id


def test_pods_that_come_and_go_leave_whole_enis_free():
    """bug class 10: what scattered pods leave behind does not stay for ever"""
    world = world_of(max_free=1)
    for number in range(12):
        world.acquire(number)
    world.work(30)
    alive = [group[0] for group in by_eni(world).values()]
    for number in range(12):
        if number not in alive:
            world.release(number)

    for turn in range(20, 32):  # each pod lives for three turns
        world.acquire(turn)
        alive.append(turn)
        world.work(70)
        if len(alive) > 3:
            world.release(alive.pop(0))
        world.work(70)
    world.work(500)

    assert len(world.cloud.enis) <= 2


def test_the_primary_address_is_never_the_victim():
    world = world_of(max_free=0)
    for number in range(4):
        world.acquire(number)
    world.work(10)
    (eni,) = world.cloud.enis.values()
    on_primary = next(
        n for n in range(4) if world.leases[owner(n)].addresses.v4 == eni.primary_ipv4
    )
    keep = next(n for n in range(4) if n != on_primary)
    for number in range(4):
        if number != keep:
            world.release(number)
    world.settle()

    (eni,) = world.cloud.enis.values()
    assert set(eni.ipv4) == {eni.primary_ipv4, world.leases[owner(keep)].addresses.v4}


def test_free_addresses_of_a_vswitch_are_counted_down_while_calls_are_under_way():
    cloud = ModelCloud((vswitch(1, available=100),), eni_slots=2, per_eni=10)
    world = world_of(cloud=cloud)
    for number in range(4):
        world.acquire(number)
    world.wake()

    assert available_in(world.pool, vswitch(1).id) == 96
    world.work(5)
    assert available_in(world.pool, vswitch(1).id) == 96
    for number in range(4):
        world.release(number)
    world.settle()
    assert available_in(world.pool, vswitch(1).id) == 100


def test_a_failed_call_gives_its_reservation_back():
    cloud = ModelCloud((vswitch(1, available=100),), eni_slots=2, per_eni=10)
    world = world_of(cloud=cloud)
    world.acquire(1)
    world.wake()
    world.withdraw(1)

    from terway.ipam.failure import Failure, FailureKind

    world.fail(Failure(kind=FailureKind.QUOTA, reason="no"))

    assert available_in(world.pool, vswitch(1).id) == 100


def test_the_most_policy_follows_its_own_counting_between_two_readings():
    cloud = ModelCloud(
        (vswitch(1, available=105), vswitch(2, available=100)), eni_slots=2, per_eni=10
    )
    world = world_of(cloud=cloud, vswitch_policy=VSwitchPolicy.MOST)
    for number in range(20):
        world.acquire(number)
    world.work(10)

    used = {eni.vswitch_id for eni in world.cloud.enis.values()}
    assert used == {vswitch(1).id, vswitch(2).id}
    assert world.cloud.calls["describe_vswitches"] == 2


def test_a_full_vswitch_stops_neither_release_nor_trim_nor_deletion():
    """bug class 9"""
    cloud = ModelCloud((vswitch(1, available=8),), eni_slots=3, per_eni=4)
    world = world_of(cloud=cloud)
    for number in range(9):
        world.acquire(number)
    world.work(30)
    assert len(world.leases) == 8
    assert owner(8) in world.refused

    for number in range(8):
        world.release(number)
    world.settle()

    assert not world.cloud.enis


def test_whole_enis_are_kept_warm_and_reused_after_a_flush():
    """exclusive ENIs: one address each"""
    world = world_of(eni_slots=4, per_eni=1, ipv4_per_eni=1, min_free=2, max_free=2)
    assert len(world.cloud.enis) == 2

    world.acquire(1)
    world.work(5)
    assert len(world.cloud.enis) == 3
    mine = world.leases[owner(1)].eni_id
    world.release(1)
    world.work(1000)
    world.settle()

    assert world.free_pairs() == 2
    assert len(world.cloud.enis) == 2
    for number in range(2, 7):
        world.acquire(number)
        world.work(5)
    assert len(world.leases) == 4
    assert owner(6) in world.refused
    assert len({lease.eni_id for lease in world.leases.values()}) == 4
    assert mine is not None
