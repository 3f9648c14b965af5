"""A pod that asks for a vSwitch, security groups or RDMA gets an ENI that is just that."""

from __future__ import annotations

from itertools import product

import pytest

from terway.ipam.adopt import is_managed, takes_slot
from terway.ipam.settings import POD_ENI_TAG
from terway.model.address import Family
from terway.model.eni import ENIType
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.interface import Placement
from tests.support.model_cloud import GROUP, INSTANCE, ModelCloud, vswitch
from tests.support.pool_world import World, owner, pool_config
from tests.unit.ipam.test_pool_reconcile import attached_eni

OTHER_GROUP = SecurityGroupId("sg-other")
OTHER = vswitch(2).id
IN_OTHER = Placement(vswitch_ids=(OTHER,))
WITH_GROUP = Placement(security_group_ids=(OTHER_GROUP,))
RDMA = Placement(is_erdma=True)


def world_of(**changes) -> World:
    """A node whose ordinary pods are in the first vSwitch; the second is there for who asks."""
    cloud = ModelCloud((vswitch(1), vswitch(2)), eni_slots=3, per_eni=4)
    wanted = {"vswitch_ids": (vswitch(1).id,), "families": (Family.V4,), **changes}
    world = World(cloud, **wanted)
    world.sleep(0)
    world.settle()
    return world


def eni_of(world: World, number: int):
    return world.cloud.enis[world.leases[owner(number)].eni_id]


def test_a_pod_gets_an_eni_of_the_vswitch_that_it_asks_for():
    world = world_of()

    world.acquire(1)
    world.acquire(2, IN_OTHER)
    world.work(5)

    assert eni_of(world, 1).vswitch_id == vswitch(1).id
    assert eni_of(world, 2).vswitch_id == OTHER


def test_a_pod_gets_an_eni_in_the_security_groups_that_it_asks_for():
    world = world_of()

    world.acquire(1)
    world.acquire(2, WITH_GROUP)
    world.work(5)

    assert eni_of(world, 1).security_group_ids == (GROUP,)
    assert eni_of(world, 2).security_group_ids == (OTHER_GROUP,)


@pytest.mark.parametrize("wish", [IN_OTHER, WITH_GROUP])
def test_an_ordinary_pod_gets_nothing_of_a_special_eni(wish):
    world = world_of()
    world.acquire(1, wish)
    world.work(5)

    world.acquire(2)
    world.work(5)

    assert eni_of(world, 2).id != eni_of(world, 1).id


def test_a_wish_that_ordinary_enis_fulfil_costs_no_eni_of_its_own():
    world = world_of(min_free=2, max_free=3)

    world.acquire(1, Placement(vswitch_ids=(vswitch(1).id,), security_group_ids=(GROUP,)))

    assert owner(1) in world.leases


def test_who_waits_for_a_special_eni_does_not_hold_up_the_others():
    world = world_of(min_free=1, max_free=2)
    world.acquire(1, IN_OTHER)

    world.acquire(2)

    assert owner(2) in world.leases
    assert owner(1) not in world.leases


def test_a_special_eni_goes_when_its_last_pod_does():
    world = world_of()
    world.acquire(1, IN_OTHER)
    world.acquire(2, IN_OTHER)
    world.work(5)
    special = eni_of(world, 1).id
    world.release(1)
    world.work(1000)
    assert special in world.cloud.enis

    world.release(2)
    world.settle()

    assert special not in world.cloud.enis


def test_all_enis_share_the_nodes_slots():
    world = world_of(max_enis=2)
    world.acquire(1)
    world.acquire(2, IN_OTHER)
    world.work(5)

    world.acquire(3, WITH_GROUP)

    assert "all the ENIs" in world.refused[owner(3)].reason
    assert len(world.leases) == 2


def test_a_wish_for_a_vswitch_that_is_not_there_is_refused_with_its_name():
    world = world_of()

    world.acquire(1, Placement(vswitch_ids=(VSwitchId("vsw-none"),)))
    world.work(60)

    assert "vsw-none" in world.refused[owner(1)].reason


def test_a_crash_does_not_turn_a_special_eni_into_an_ordinary_one():
    world = world_of()
    world.acquire(1, WITH_GROUP)
    world.work(5)
    special = eni_of(world, 1).id

    world.crash()
    world.work(200)
    world.acquire(2)
    world.work(5)

    assert eni_of(world, 2).id != special
    assert world.cloud.enis[special].security_group_ids == (OTHER_GROUP,)


def test_a_crash_while_a_special_eni_is_made_makes_no_second_one():
    """bug class 2"""
    world = world_of()
    world.acquire(1, WITH_GROUP)
    world.wake()
    world.crash(lambda _: True)
    world.acquire(1, WITH_GROUP)
    world.work(30)

    assert world.cloud.calls["create_eni"] == 2  # one call, repeated
    assert len(world.cloud.enis) == 1
    assert eni_of(world, 1).security_group_ids == (OTHER_GROUP,)


def test_pods_for_rdma_get_an_eni_for_it_and_others_never_do():
    world = world_of(erdma_enis=1)

    world.acquire(1, RDMA)
    world.acquire(2)
    world.work(5)

    assert eni_of(world, 1).traffic_mode == "HighPerformance"
    assert eni_of(world, 2).traffic_mode == "Standard"


def test_ordinary_pods_leave_the_slots_for_rdma_free():
    world = world_of(erdma_enis=1)
    for number in range(9):
        world.acquire(number)
    world.work(30)
    assert len(world.leases) == 8

    world.acquire(20, RDMA)
    world.work(5)

    assert owner(20) in world.leases


def test_without_rdma_a_pod_that_asks_for_it_is_told_why_not():
    world = world_of()

    world.acquire(1, RDMA)

    assert "enable_erdma" in world.refused[owner(1)].reason


MINE = (("creator", "terway"), ("terway.alibabacloud.com/instance", str(INSTANCE)))
FILTER, BLOCK = ("pool", "a"), ("keep", "out")


@pytest.mark.parametrize(
    ("ours", "passes", "is_blocked", "is_erdma", "has_filter", "wants_erdma"),
    list(product([False, True], repeat=6)),
)
def test_tags_and_kind_decide_whose_an_eni_is(
    ours, passes, is_blocked, is_erdma, has_filter, wants_erdma
):
    """bug class 12"""
    tags = (*(MINE if ours else ()), *((FILTER,) if passes else ()))
    eni = attached_eni(
        tags=(*tags, *((BLOCK,) if is_blocked else ())),
        traffic_mode="HighPerformance" if is_erdma else "Standard",
    )
    config = pool_config(
        ModelCloud(),
        tag_filter=(FILTER,) if has_filter else (),
        tag_blocklist=(BLOCK,),
        erdma_enis=1 if wants_erdma else 0,
    )

    is_left_alone = (
        is_blocked
        or (is_erdma and not wants_erdma and not ours)
        or (has_filter and not passes and not ours)
    )
    assert is_managed(config, eni) is not is_left_alone


@pytest.mark.parametrize("kind", [ENIType.PRIMARY, ENIType.MEMBER])
def test_primary_and_member_enis_are_never_the_pools(kind):
    """bug class 12"""
    assert not is_managed(pool_config(ModelCloud()), attached_eni(type=kind, tags=MINE))


def test_an_eni_that_a_podeni_has_is_no_pools_and_takes_a_slot_all_the_same():
    eni = attached_eni(tags=(POD_ENI_TAG,))

    assert not is_managed(pool_config(ModelCloud()), eni)
    assert takes_slot(eni)
