"""Which conditions does an ENI have, after what its operations came to?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from terway.controlplane.pools.conditions import (
    INSUFFICIENT_IP,
    OPERATION_ERR,
    Troubles,
    conditions_of,
    heard,
)
from terway.ipam.commands import AssignAddresses, DetachENI
from terway.ipam.events import Assigned, DetachRequested, Event, Failed
from terway.ipam.failure import Failure, FailureKind
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.values import AssignIntent, ENIPhase, Hold, PoolENI, VSwitchState
from terway.model.address import Family
from terway.model.eni import VSwitch
from terway.model.ids import ClientToken, ENIId, InstanceId, MacAddress, VpcId, VSwitchId, ZoneId

ROOM = VSwitchId("vsw-1")
ENI = PoolENI(
    id=ENIId("eni-1"),
    mac=MacAddress("00:16:3e:00:00:01"),
    vswitch_id=ROOM,
    phase=ENIPhase.IN_USE,
)
INTENT = AssignIntent(token=ClientToken("t"), eni_id=ENI.id, family=Family.V4, count=1)
CONFIG = PoolConfig(
    instance_id=InstanceId("i-1"),
    zone_id=ZoneId("z"),
    families=(Family.V4,),
    vswitch_ids=(ROOM,),
    security_group_ids=(),
    eni_slots=3,
    max_enis=3,
    ipv4_per_eni=10,
    token_seed="s",
)
POOL = Pool.empty(CONFIG, now=0.0).with_eni(ENI).with_intent(INTENT)


def refused(kind: FailureKind, reason: str = "the cloud said no") -> Failed:
    return Failed(command=DetachENI(eni_id=ENI.id), failure=Failure(kind=kind, reason=reason))


def after(*events: Event) -> Troubles:
    troubles: Troubles = {}
    for moment, event in enumerate(events):
        troubles = heard(troubles, event, POOL, now=float(moment))
    return troubles


def shown(*events: Event) -> dict[str, tuple[str, float]]:
    found = conditions_of(POOL, ENI, after(*events), now=100.0)
    return {name: (one.message, one.since) for name, one in found.items()}


def test_an_eni_without_trouble_has_no_condition() -> None:
    assert shown() == {}


def test_a_refusal_is_a_condition_since_the_first_time() -> None:
    first, second = refused(FailureKind.REFUSED, "1"), refused(FailureKind.REFUSED, "2")

    assert shown(first, second) == {OPERATION_ERR: ("1", 0.0)}


def test_what_passes_by_itself_is_a_condition_only_when_it_does_not_pass() -> None:
    again = refused(FailureKind.CONFLICT)

    assert shown(again, again) == {}
    assert shown(again, again, again) == {OPERATION_ERR: ("the cloud said no", 0.0)}


@pytest.mark.parametrize("kind", [FailureKind.THROTTLED, FailureKind.VSWITCH_FULL])
def test_what_is_not_the_enis_trouble_is_none_of_its_conditions(kind: FailureKind) -> None:
    assert shown(*[refused(kind)] * 5) == {}


@pytest.mark.parametrize(
    "success",
    [
        DetachRequested(eni_id=ENI.id),
        Assigned(token=INTENT.token, addresses=(IPv4Address("10.0.0.1"),)),
    ],
)
def test_a_success_on_the_eni_ends_it(success: Event) -> None:
    assert shown(refused(FailureKind.REFUSED), success) == {}


def test_an_assignment_that_is_refused_is_its_enis_trouble() -> None:
    failure = Failure(kind=FailureKind.ENI_FULL, reason="it has 10")

    event = Failed(command=AssignAddresses(intent=INTENT), failure=failure)

    assert shown(event) == {OPERATION_ERR: ("it has 10", 0.0)}


def test_an_empty_vswitch_is_a_condition_of_its_enis_until_it_is_asked_again() -> None:
    cidr = IPv4Network("10.0.0.0/28")
    vswitch = VSwitch(id=ROOM, vpc_id=VpcId("v"), zone_id=ZoneId("z"), cidr=cidr)
    hold = Hold(until=50.0 + CONFIG.vswitch_hold_s, reason="IpNotEnough")
    state = VSwitchState(vswitch=vswitch, available=0, read_at=0.0, hold=hold)
    pool = POOL.with_vswitch(state)

    found = conditions_of(pool, ENI, {}, now=100.0)

    assert found[INSUFFICIENT_IP].since == 50.0
    assert found[INSUFFICIENT_IP].message == "vsw-1 has no free address: IpNotEnough"
    assert conditions_of(pool, ENI, {}, now=hold.until) == {}
    assert conditions_of(pool, replace(ENI, vswitch_id=VSwitchId("vsw-2")), {}, now=100.0) == {}
