"""What the pool is told while it lives, it follows; what pods have, they keep."""

from __future__ import annotations

from terway.ipam.budget import Budget
from terway.ipam.commands import SetSecurityGroups
from terway.ipam.failure import Failure, FailureKind
from terway.model.address import Family
from terway.model.ids import SecurityGroupId
from terway.model.interface import Placement
from tests.support.model_cloud import GROUP, ModelCloud, vswitch
from tests.support.pool_world import World, owner
from tests.unit.ipam.test_pool_reconcile import attached_eni

OTHER_GROUP = SecurityGroupId("sg-other")


def world_of(*, per_eni: int = 4, **changes) -> World:
    cloud = ModelCloud((vswitch(1), vswitch(2)), eni_slots=3, per_eni=per_eni)
    wanted = {"vswitch_ids": (vswitch(1).id,), "families": (Family.V4,), **changes}
    world = World(cloud, **wanted)
    world.sleep(0)
    world.settle()
    return world


def test_enis_of_a_vswitch_that_is_no_longer_listed_drain_and_go_when_empty():
    world = world_of(min_free=1, max_free=4)
    world.acquire(1)
    world.work(5)
    old = world.leases[owner(1)].eni_id

    world.configure(vswitch_ids=(vswitch(2).id,))
    world.acquire(2)
    world.work(5)

    assert world.cloud.enis[world.leases[owner(2)].eni_id].vswitch_id == vswitch(2).id
    assert old in world.cloud.enis
    world.release(1)
    world.settle()
    assert old not in world.cloud.enis


def test_an_eni_that_a_person_attached_is_not_drained_for_its_vswitch():
    """bug class 12"""
    world = world_of(max_free=4)
    world.cloud.plug(attached_eni())
    world.work(200)

    world.configure(vswitch_ids=(vswitch(2).id,))
    world.work(1000)

    assert attached_eni().id in world.cloud.enis
    world.acquire(1)
    world.work(5)
    assert world.leases[owner(1)].eni_id == attached_eni().id


def test_a_vswitch_that_is_listed_again_stops_the_draining():
    world = world_of()
    world.acquire(1)
    world.work(5)
    world.configure(vswitch_ids=(vswitch(2).id,))
    world.work(5)

    world.configure(vswitch_ids=(vswitch(1).id, vswitch(2).id))
    world.acquire(2)
    world.work(5)

    assert world.leases[owner(1)].eni_id == world.leases[owner(2)].eni_id


def test_new_security_groups_reach_the_enis_that_are_there():
    world = world_of(min_free=1, max_free=2)

    world.configure(security_group_ids=(OTHER_GROUP,))
    world.work(5)

    (eni,) = world.cloud.enis.values()
    assert eni.security_group_ids == (OTHER_GROUP,)
    assert world.cloud.calls["set_security_groups"] == 1


def test_security_groups_that_changed_while_the_process_was_away_are_noticed():
    world = world_of(min_free=1, max_free=2)
    (eni,) = world.cloud.enis.values()
    world.cloud.set_security_groups(eni.id, (OTHER_GROUP,))

    world.crash()
    world.work(300)

    assert world.cloud.enis[eni.id].security_group_ids == (GROUP,)


def test_enis_with_a_pods_own_groups_and_those_of_people_keep_theirs():
    world = world_of(max_free=4)
    world.cloud.plug(attached_eni(security_group_ids=(SecurityGroupId("sg-theirs"),)))
    world.acquire(1, Placement(security_group_ids=(SecurityGroupId("sg-pod"),)))
    world.work(300)

    world.configure(security_group_ids=(OTHER_GROUP,))
    world.work(300)

    groups = {eni.security_group_ids for eni in world.cloud.enis.values()}
    assert groups == {("sg-theirs",), ("sg-pod",)}


def test_refused_security_groups_stop_nothing_else():
    world = world_of(min_free=1, max_free=4)
    world.configure(security_group_ids=(OTHER_GROUP,))
    refusal = Failure(kind=FailureKind.REFUSED, reason="no such group")

    for number in range(3):
        world.acquire(number)
        for _ in range(20):
            if world.commands(SetSecurityGroups):
                world.fail(refusal, world.pending.index(world.commands(SetSecurityGroups)[0]))
            else:
                world.work_on()

    assert len(world.leases) == 3


def test_new_sizes_are_followed_both_ways():
    world = world_of(per_eni=10)

    world.configure(min_free=5, max_free=6)
    world.work(5)
    assert world.free_pairs() >= 5

    world.configure(min_free=0, max_free=1)
    world.work(1000)
    world.settle()
    assert world.free_pairs() <= 1


def test_the_same_configuration_again_changes_nothing():
    world = world_of(min_free=2, max_free=4)
    before = world.pool

    world.configure()

    assert world.pool == before
    assert not world.pending


def test_the_instance_and_the_seed_of_the_tokens_stay():
    world = world_of()

    world.configure(token_seed="another", instance_id="i-another", min_free=1)

    assert world.pool.config.token_seed == "boot0"
    assert world.pool.config.instance_id == "i-1"


def test_a_limit_of_one_action_holds_back_that_action_only():
    budget = Budget.full(rate=10.0, burst=20.0, per_minute={"CreateNetworkInterface": 2}, now=0.0)
    for _ in range(2):
        budget = budget.spent("CreateNetworkInterface")

    assert not budget.can_spend(0.0, "CreateNetworkInterface")
    assert budget.can_spend(0.0, "AttachNetworkInterface")
    ready_at = budget.ready_at(0.0, "CreateNetworkInterface")
    assert 29.0 < ready_at < 31.0
    assert budget.refilled(ready_at).can_spend(ready_at, "CreateNetworkInterface")


def test_a_reload_refills_no_budget():
    world = world_of(rate_limits=(("CreateNetworkInterface", 1.0),), min_free=1)

    world.configure(min_free=9)
    world.work(20)

    assert world.cloud.calls["create_eni"] == 2  # one before, and one that a minute allows
    world.work(60)
    assert world.cloud.calls["create_eni"] == 3
