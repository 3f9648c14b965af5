"""An address is taken back only from who says that nobody has it, on an answer to that very wish.

Bug classes 4 and 14: a release races with an allocation; an old answer comes late.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from terway.ipam.commands import AssignAddresses, DetachENI, UnassignAddresses
from terway.ipam.events import Expected, Holding, Observed, Tick
from terway.ipam.fit import ORDINARY
from terway.ipam.pool import Pool
from terway.ipam.settings import Half, PoolConfig
from terway.ipam.step import step
from terway.ipam.values import AddressPhase, AssignIntent, ENIPhase, PoolENI, Slot, VSwitchState
from terway.ipam.wake import wake_at
from terway.model.address import Family
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

ENI_ID, VSWITCH = ENIId("eni-1"), VSwitchId("vsw-1")
A, B, C = (IPv4Address(f"10.0.0.{n}") for n in (1, 2, 3))
NOW = 1000.0


def config(half: Half = Half.SUPPLY, **changes) -> PoolConfig:
    made = PoolConfig(
        instance_id=InstanceId("i-1"),
        zone_id=ZoneId("z"),
        families=(Family.V4,),
        vswitch_ids=(VSWITCH,),
        security_group_ids=(SecurityGroupId("sg-1"),),
        eni_slots=3,
        max_enis=3,
        ipv4_per_eni=10,
        token_seed="t",
        half=half,
        trim_after_s=10.0,
        observe_every_s=float("inf"),
        orphans_every_s=float("inf"),
        calls_per_s=1e9,
        call_burst=1e9,
    )
    return replace(made, **changes)


def pool_of(*addresses: IPv4Address, half: Half = Half.SUPPLY, **changes) -> Pool:
    """Return a pool with one ENI in use that has `addresses`, the first its primary one."""
    pool = Pool.empty(config(half, **changes), now=NOW)
    eni = PoolENI(id=ENI_ID, mac=MacAddress("m"), vswitch_id=VSWITCH, phase=ENIPhase.IN_USE)
    slots = [Slot(address=one, eni_id=ENI_ID, is_primary=one == addresses[0]) for one in addresses]
    vswitch = VSwitch(
        id=VSWITCH,
        vpc_id=VpcId("v"),
        zone_id=ZoneId("z"),
        cidr=IPv4Network("10.0.0.0/16"),
        available_ip_count=999,
    )
    state = VSwitchState(vswitch=vswitch, available=999, read_at=NOW)
    pool = replace(pool, is_observed=True, vswitches_read=True)
    pool = replace(pool, watch=replace(pool.watch, due_at=float("inf")))
    return pool.with_eni(eni).with_slots(slots).with_vswitch(state)


def hold(pool: Pool, *held: IPv4Address, at: float = NOW, **released: int):
    names = {"a": A, "b": B, "c": C}
    answers: dict[Any, int] = {names[name]: number for name, number in released.items()}
    return step(pool, Holding(held=dict.fromkeys(held, True), released=answers), now=at)


def trimmed(pool: Pool) -> Pool:
    """Return the pool after its surplus has lasted."""
    pool, _ = step(pool, Tick(), now=NOW)
    pool, commands = step(pool, Tick(), now=NOW + 11)
    assert commands == ()
    return pool


def test_what_is_not_needed_is_asked_for_before_it_is_taken():
    pool, _ = hold(pool_of(A, B, C), A)
    pool = trimmed(pool)
    assert {one.address: one.recall for one in pool.slots.values()} == {A: 0, B: 1, C: 1}
    assert pool.recalls == 1
    pool, commands = hold(pool, A, at=NOW + 12, b=1)
    assert commands == (UnassignAddresses(eni_id=ENI_ID, addresses=(B,)),)


@pytest.mark.parametrize("number", [0, 2, 7])
def test_an_answer_to_another_wish_is_none(number):
    pool, _ = hold(pool_of(A, B), A)
    pool = trimmed(pool)
    pool, commands = hold(pool, A, at=NOW + 12, b=number)
    assert commands == ()
    assert not pool.slots[B].is_released


def test_what_was_given_meanwhile_is_not_wanted_any_more():
    pool, _ = hold(pool_of(A, B), A)
    pool = trimmed(pool)
    pool, commands = hold(pool, A, B, at=NOW + 12)
    assert commands == ()
    assert pool.slots[B].phase is AddressPhase.BOUND
    assert (pool.slots[B].recall, pool.recalls) == (0, 2)
    # The answer that the wish would have had comes late, with the next one's number made.
    pool, _ = hold(pool, A, at=NOW + 13)
    pool, _ = step(pool, Tick(), now=NOW + 14)
    pool, _ = step(pool, Tick(), now=NOW + 30)
    assert pool.slots[B].recall == 3
    pool, commands = hold(pool, A, at=NOW + 31, b=1)
    assert commands == ()


def test_what_was_released_stays_so_whatever_an_old_cache_says():
    pool, _ = hold(pool_of(A, B), A)
    pool, _ = hold(trimmed(pool), A, at=NOW + 12, b=1)
    pool, _ = hold(pool, A, B, at=NOW + 13)
    assert pool.slots[B].is_released
    assert pool.slots[B].phase is AddressPhase.RETIRING


def test_an_eni_goes_when_all_of_it_was_released_and_stays_for_a_single_pod():
    pool = trimmed(pool_of(A, B))
    assert pool.enis[ENI_ID].phase is ENIPhase.DETACHING
    half, commands = hold(pool, at=NOW + 12, a=1)
    assert commands == ()
    kept, commands = hold(half, B, at=NOW + 13)
    assert commands == ()
    assert kept.enis[ENI_ID].phase is ENIPhase.IN_USE
    assert {one.recall for one in kept.slots.values()} == {0}
    _, commands = hold(half, at=NOW + 13, a=1, b=1)
    assert commands == (DetachENI(eni_id=ENI_ID),)


def test_what_is_expected_is_neither_asked_for_twice_nor_given_back():
    pool, _ = step(pool_of(A, B), Expected(wishes={ORDINARY: 2}), now=NOW)
    pool, commands = step(pool, Tick(), now=NOW + 60)
    assert commands == ()
    assert not any(one.recall for one in pool.slots.values())


def reading(*addresses: IPv4Address, recalled: tuple[IPv4Address, ...] = ()) -> Observed:
    eni = ENI(
        id=ENI_ID,
        mac=MacAddress("m"),
        type=ENIType.SECONDARY,
        status=ENIStatus.IN_USE,
        vpc_id=VpcId("v"),
        vswitch_id=VSWITCH,
        zone_id=ZoneId("z"),
        primary_ipv4=A,
        ipv4=addresses,
    )
    return Observed(asked_at=NOW, attached=(eni,), recalled=frozenset(recalled))


def supplied(*addresses: IPv4Address) -> Pool:
    return pool_of(*addresses, half=Half.USE, settle_s=0.0)


def test_who_is_supplied_forgets_what_is_wanted_back_and_free():
    pool, _ = step(supplied(A, B, C), reading(A, B, C, recalled=(B,)), now=NOW)
    assert set(pool.slots) == {A, C}
    pool, _ = step(pool, reading(A, B, C, recalled=(B,)), now=NOW + 1)
    assert set(pool.slots) == {A, C}, "not while it is wanted back"
    pool, _ = step(pool, reading(A, B, C), now=NOW + 2)
    assert pool.slots[B].phase is AddressPhase.FREE


@pytest.mark.parametrize("phase", [AddressPhase.BOUND, AddressPhase.COOLING])
def test_who_is_supplied_keeps_what_a_pod_has_or_what_rests(phase):
    pool = supplied(A, B)
    slot = replace(pool.slots[B], phase=phase, rests_until=NOW + 99)
    pool, _ = step(pool.with_slots((slot,)), reading(A, B, recalled=(B,)), now=NOW)
    assert pool.slots[B].phase is phase


def test_who_is_supplied_calls_for_nothing():
    pool, _ = step(supplied(A), reading(A), now=NOW)
    assert step(pool, Tick(), now=NOW + 9999)[1] == ()


def test_who_is_supplied_forgets_calls_that_were_begun_when_he_was_not():
    begun = AssignIntent(token=ClientToken("t"), eni_id=ENI_ID, family=Family.V4, count=1)
    pool, commands = step(supplied(A).with_intent(begun), Tick(), now=NOW)
    assert not [one for one in commands if isinstance(one, AssignAddresses)]
    assert pool.intents == {}


@pytest.mark.parametrize("since", [1010.3210000000005, 1008.1, 999.7, 1e6 + 0.1])
def test_a_surplus_goes_when_its_alarm_rings_whatever_the_rounding(since):
    pool, _ = step(pool_of(A, B, C, trim_after_s=120.0), Tick(), now=since)
    pool, _ = hold(pool, A, at=since)
    pool, _ = step(pool, Tick(), now=wake_at(pool, since))
    assert any(one.recall for one in pool.slots.values())
