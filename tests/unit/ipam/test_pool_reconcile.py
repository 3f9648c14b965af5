"""A reading of the cloud puts right what we believed, and never undoes what we did meanwhile."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from terway.ipam.commands import Observe
from terway.ipam.events import Created, Observed, Unassigned
from terway.ipam.settings import POD_ENI_TAG, Half
from terway.ipam.values import AddressPhase, ENIPhase
from terway.model.address import Family
from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ClientToken, ENIId, MacAddress
from tests.support.model_cloud import INSTANCE, ModelCloud, vswitch
from tests.support.pool_world import TRANSIENT, World, owner


def attached_eni(number: int = 90, **changes) -> ENI:
    """Return an ENI that a person created and attached."""
    primary = IPv4Address(f"10.1.200.{number}")
    eni = ENI(
        id=ENIId(f"eni-{number}"),
        mac=MacAddress(f"00:16:3e:00:01:{number:02x}"),
        type=ENIType.SECONDARY,
        status=ENIStatus.IN_USE,
        vpc_id=vswitch(1).vpc_id,
        vswitch_id=vswitch(1).id,
        zone_id=vswitch(1).zone_id,
        primary_ipv4=primary,
        ipv4=(primary, primary + 100),
        ipv6=(),
        instance_id=INSTANCE,
    )
    return replace(eni, **changes)


def world_with(*enis: ENI, **changes) -> World:
    cloud = ModelCloud()
    for eni in enis:
        cloud.plug(eni)
    world = World(cloud, max_free=10, **changes)
    world.sleep(0)
    world.work(5)
    return world


def look(world: World) -> None:
    """Let the next reading come and be answered."""
    world.sleep(world.config.observe_every_s + 1)
    while world.commands(Observe):
        world.perform()
    world.work(1)


def v4_of(world: World, number: int) -> IPv4Address:
    address = world.leases[owner(number)].addresses.v4
    assert address is not None
    return address


V4 = {"families": (Family.V4,)}


def test_every_secondary_eni_of_the_instance_is_adopted():
    eni = attached_eni()

    world = world_with(eni, **V4)

    assert set(world.pool.enis) == {eni.id}
    assert world.pool.enis[eni.id].phase is ENIPhase.IN_USE


def test_addresses_of_an_adopted_eni_rest_first_for_nobody_knows_who_had_them():
    world = world_with(attached_eni(), **V4)

    assert {slot.phase for slot in world.pool.slots.values()} == {AddressPhase.COOLING}


def test_primary_and_member_enis_and_those_of_rdma_are_left_alone():
    others = [
        attached_eni(91, type=ENIType.PRIMARY),
        attached_eni(92, type=ENIType.MEMBER),
        attached_eni(93, traffic_mode="HighPerformance"),
    ]

    world = world_with(*others, **V4)

    assert world.pool.enis == {}


def test_an_excluded_eni_is_left_alone_and_takes_its_slot():
    excluded = attached_eni(tags=(("keep", "off"),))

    world = world_with(excluded, **V4, tag_blocklist=(("keep", "off"),))

    assert world.pool.enis == {}
    assert world.pool.foreign_enis == 1


def test_a_slot_that_a_single_pod_has_is_not_the_pools_until_it_is_given_back():
    """Two ENIs of one address each fit beside it; the third pod waits for the slot."""
    cloud = ModelCloud((vswitch(1),), eni_slots=3, per_eni=1)
    world = World(cloud, vswitch_ids=(vswitch(1).id,), pod_enis=1, **V4)
    for number in range(3):
        world.acquire(number)
    world.work(30)
    assert len(world.cloud.enis) == 2
    assert world.pool.config.capacity == 2

    world.configure(pod_enis=0)
    world.acquire(3)
    world.work(30)

    assert len(world.cloud.enis) == 3


def test_a_pods_whole_eni_is_counted_once_by_whoever_supplies_the_pool():
    """The control plane counts it before the cloud shows it; a node by itself, when it does."""
    whole = attached_eni(tags=(POD_ENI_TAG,))

    assert world_with(whole, **V4, half=Half.SUPPLY, pod_enis=1).pool.eni_limit == 2
    assert world_with(whole, **V4).pool.eni_limit == 2


def test_with_a_filter_only_enis_that_carry_all_its_tags_are_adopted():
    wanted = attached_eni(91, tags=(("a", "1"), ("b", "2")))
    other = attached_eni(92, tags=(("a", "1"),))

    world = world_with(wanted, other, **V4, tag_filter=(("a", "1"), ("b", "2")))

    assert set(world.pool.enis) == {wanted.id}


def test_an_eni_of_ours_is_ours_whatever_the_filter_says():
    world = world_with(**V4, tag_filter=(("a", "1"),))
    world.acquire(1)
    world.work(5)

    world.crash()
    world.work(5)
    look(world)

    assert len(world.pool.enis) == 1


def test_an_address_that_somebody_added_is_taken_up():
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    (eni,) = world.cloud.enis.values()
    extra = IPv4Address("10.1.99.9")
    world.cloud.plug(replace(eni, ipv4=(*eni.ipv4, extra)))

    look(world)

    assert world.pool.slots[extra].phase is AddressPhase.COOLING


def test_a_free_address_that_somebody_took_away_is_forgotten():
    world = world_with(**V4, min_free=2)
    world.settle()
    (eni,) = world.cloud.enis.values()
    gone = eni.ipv4[-1]
    world.cloud.plug(replace(eni, ipv4=eni.ipv4[:-1]))

    look(world)

    assert gone not in world.pool.slots


def test_a_bound_address_that_somebody_took_away_is_reported_and_not_given_again():
    world = world_with(**V4)
    for number in range(3):
        world.acquire(number)
    world.work(5)
    (eni,) = world.cloud.enis.values()
    lease = world.leases[owner(1)]
    left = tuple(ip for ip in eni.ipv4 if ip != lease.addresses.v4)
    world.cloud.plug(replace(eni, ipv4=left))

    look(world)

    slot = world.pool.slots[v4_of(world, 1)]
    assert slot.is_missing
    assert slot.owner == owner(1)
    world.release(1)
    assert lease.addresses.v4 not in world.pool.slots


def test_a_missing_address_that_comes_back_is_well_again():
    world = world_with(**V4)
    for number in range(3):
        world.acquire(number)
    world.work(5)
    (eni,) = world.cloud.enis.values()
    lost = v4_of(world, 1)
    world.cloud.plug(replace(eni, ipv4=tuple(ip for ip in eni.ipv4 if ip != lost)))
    look(world)

    world.cloud.plug(eni)
    look(world)

    assert not world.pool.slots[lost].is_missing


def test_an_eni_that_was_detached_under_running_pods_is_attached_again():
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    (eni,) = world.cloud.enis.values()
    world.cloud.detach_by_hand(eni.id)

    look(world)
    world.work(5)

    assert world.cloud.enis[eni.id].instance_id == INSTANCE
    assert world.leases[owner(1)].eni_id == eni.id


def test_an_adopted_eni_that_a_person_detaches_is_not_deleted():
    eni = attached_eni()
    world = world_with(eni, **V4)
    world.cloud.detach_by_hand(eni.id)

    look(world)
    world.settle()

    assert eni.id in world.cloud.enis
    assert eni.id not in world.pool.enis


def test_an_eni_that_is_gone_is_kept_in_mind_while_pods_have_its_addresses():
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    (eni,) = world.cloud.enis.values()
    del world.cloud.enis[eni.id]

    look(world)
    world.work(30)

    assert world.pool.slots[v4_of(world, 1)].is_missing
    world.release(1)
    assert eni.id not in world.pool.enis


@pytest.mark.parametrize("is_created", [True, False])
def test_an_address_that_comes_back_on_another_eni_stays_its_pods_until_that_goes(is_created):
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    address, lost = v4_of(world, 1), world.leases[owner(1)].eni_id
    del world.cloud.enis[lost]
    look(world)
    world.work(30)
    again = attached_eni(primary_ipv4=address, ipv4=(address, address + 100))

    if is_created:
        world.happen(Created(token=ClientToken("t"), eni=again))
    world.cloud.plug(again)
    look(world)

    held = world.pool.slots[address]
    assert (held.owner, held.eni_id, held.is_missing) == (owner(1), lost, True)
    world.release(1)
    look(world)
    assert world.pool.slots[address].eni_id == again.id
    assert world.pool.slots[address].owner is None


def test_what_one_eni_gave_back_stays_with_the_eni_that_has_got_it_since():
    eni = attached_eni()
    world = world_with(eni, **V4)
    before = world.pool.slots

    world.happen(Unassigned(eni_id=ENIId("eni-other"), addresses=eni.ipv4))

    assert world.pool.slots == before


def test_a_reading_older_than_a_change_of_ours_does_not_undo_it():
    """Bug class 14: an old answer overwrites a newer state."""
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    asked_at, before = world.now, tuple(world.cloud.enis.values())
    world.acquire(2)
    world.work(5)

    world.happen(Observed(asked_at=asked_at, attached=before))

    assert world.leases[owner(2)].addresses.v4 in world.pool.slots
    assert not any(slot.is_missing for slot in world.pool.slots.values())


def test_a_reading_that_is_behind_what_the_cloud_just_did_is_not_believed():
    """Bug class 11: readings that lag behind."""
    world = world_with(**V4)
    world.acquire(1)
    world.work(5)
    before = tuple(world.cloud.enis.values())
    world.acquire(2)
    world.work(1)

    # asked for after the assignment, answered from a copy that is behind
    world.happen(Observed(asked_at=world.now, attached=before))

    assert not any(slot.is_missing for slot in world.pool.slots.values())


def test_a_second_look_changes_nothing():
    world = world_with(**V4, min_free=2)
    world.acquire(1)
    world.settle()
    look(world)
    before = (world.pool.slots, world.pool.enis)

    look(world)

    assert (world.pool.slots, world.pool.enis) == before


def test_nothing_is_created_before_the_enis_of_the_instance_have_been_read():
    cloud = ModelCloud()
    cloud.plug(attached_eni())
    world = World(cloud, **V4, min_free=2, max_free=4)
    world.sleep(0)
    (observe,) = world.commands(Observe)
    world.fail(TRANSIENT, world.pending.index(observe))

    world.work(0.4)
    assert cloud.calls["create_eni"] == 0

    world.work(60)
    assert set(cloud.enis) == {attached_eni().id}
