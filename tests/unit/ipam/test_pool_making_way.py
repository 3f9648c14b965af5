"""A pool that takes slots of pods with whole ENIs gives up what is idle, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from terway.ipam.commands import DetachENI
from terway.ipam.events import Configured, Expected, Tick
from terway.ipam.fit import ORDINARY
from terway.ipam.pool import Pool
from terway.ipam.step import step
from terway.ipam.values import CreateIntent, ENIPhase, Prefix, Slot
from terway.model.eni import ENIType
from terway.model.ids import ENIId
from tests.unit.ipam.test_pool_holding import ENI_ID, NOW, VSWITCH, A, B, C, hold, pool_of

OTHER = ENIId("eni-2")
D = IPv4Address("10.0.0.4")


def two_enis(**changes) -> Pool:
    """Return a content pool with an ENI of one address, another of three, and a slot left."""
    pool = pool_of(A, **({"max_free": 9} | changes))
    eni = replace(pool.enis[ENI_ID], id=OTHER)
    more = (Slot(address=one, eni_id=OTHER, is_primary=one == B) for one in (B, C, D))
    return pool.with_eni(eni).with_slots(more)


def with_pods_alone(pool: Pool, count: int) -> Pool:
    """Return the pool when it has heard that so many pods have an ENI of their own."""
    told = replace(pool.config, pod_enis=count)
    pool, commands = step(pool, Configured(config=told), now=NOW)
    assert not [one for one in commands if isinstance(one, DetachENI)], "nobody was asked yet"
    return pool


def leaving(pool: Pool) -> set[ENIId]:
    return {eni.id for eni in pool.enis.values() if eni.phase is ENIPhase.DETACHING}


@pytest.mark.parametrize(("count", "gone"), [(1, set()), (2, {ENI_ID}), (3, {ENI_ID, OTHER})])
def test_as_many_idle_enis_go_at_once_as_slots_are_lacking_the_smallest_first(count, gone):
    pool = with_pods_alone(two_enis(min_free=4), count)

    assert leaving(pool) == gone
    assert leaving(step(pool, Tick(), now=NOW + 999)[0]) == gone


def test_the_agent_is_asked_first_and_the_reserve_is_not_made_anew():
    pool = with_pods_alone(pool_of(A, B, min_free=2), 3)
    assert {slot.recall for slot in pool.slots.values()} == {1}

    pool, commands = hold(pool, at=NOW + 1, a=1, b=1)

    assert commands == (DetachENI(eni_id=ENI_ID),)
    assert pool.creates == ()


def test_what_the_agent_has_given_meanwhile_keeps_its_eni_until_it_is_free_again():
    """Bug class 4."""
    pool = with_pods_alone(pool_of(A, B, max_free=9), 3)

    pool, commands = hold(pool, B, at=NOW + 1, a=1)
    assert (commands, leaving(pool)) == ((), set())

    pool, commands = hold(pool, at=NOW + 2, a=1)
    assert (commands, leaving(pool)) == ((), {ENI_ID})
    assert {slot.recall for slot in pool.slots.values()} == {3}, "the answer to 1 is none to 3"


def test_what_scheduled_pods_need_stays_and_what_only_others_have_goes():
    pool, _ = step(two_enis(), Expected(wishes={ORDINARY: 3}), now=NOW)

    assert leaving(with_pods_alone(pool, 3)) == {ENI_ID}


def test_a_used_eni_stays_however_long_somebody_waits():
    pool, _ = hold(two_enis(), A, B)

    pool = with_pods_alone(pool, 3)

    assert leaving(step(pool, Tick(), now=NOW + 999)[0]) == set()


@pytest.mark.parametrize(
    "changes", [{"type": ENIType.TRUNK}, {"is_erdma": True}, {"is_excluded": True}], ids=str
)
def test_a_trunk_and_what_is_kept_for_others_stays(changes):
    pool = pool_of(A, max_free=9)
    pool = pool.with_eni(replace(pool.enis[ENI_ID], **changes))

    assert leaving(with_pods_alone(pool, 3)) == set()


def test_an_eni_on_its_way_to_the_pool_takes_a_slot_as_well():
    pool = two_enis()
    pool, token = pool.new_token()
    made = CreateIntent(
        token=token,
        vswitch_id=VSWITCH,
        security_group_ids=(),
        tags=(),
        resource_group_id="",
        ipv4_count=1,
        ipv6_count=0,
    )

    assert leaving(with_pods_alone(pool.with_intent(made), 1)) == {ENI_ID}


def test_an_eni_goes_with_its_prefixes():
    network = IPv4Network("10.0.1.0/28")
    pool = pool_of(A, has_prefixes=True, ipv4_prefixes=1)
    pool = pool.with_prefixes((Prefix(network=network, eni_id=ENI_ID),))

    pool = with_pods_alone(pool, 3)

    assert leaving(pool) == {ENI_ID}
    assert pool.prefixes[network].recall == pool.slots[A].recall == 1


def test_degradation_gives_nothing_up():
    assert leaving(with_pods_alone(two_enis(may_shrink=False), 3)) == set()
