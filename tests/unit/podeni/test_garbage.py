"""Which ENIs of ours nobody owns."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from terway.model.eni import ENI, ENIStatus, ENIType
from terway.model.ids import ENIId, InstanceId, MacAddress, VpcId, VSwitchId, ZoneId
from terway.podeni.garbage import Garbage, find_garbage, tags_of
from terway.podeni.record import Target

NOW = 1_790_000_000.0
OLD = ENI(
    id=ENIId("eni-1"),
    mac=MacAddress("00:16:3e:00:00:01"),
    type=ENIType.SECONDARY,
    status=ENIStatus.AVAILABLE,
    vpc_id=VpcId("vpc-1"),
    vswitch_id=VSwitchId("vsw-1"),
    zone_id=ZoneId("zone-a"),
    primary_ipv4=IPv4Address("10.0.0.1"),
    ipv4=(IPv4Address("10.0.0.1"),),
    creation_time="2026-09-21T00:00:00Z",
    tags=tags_of("c1", "uid-1"),
)


def found(eni=OLD, *, owned=(), creating=(), now=NOW, addresses=()):
    return find_garbage((eni,), owned=owned, creating=creating, now=now, addresses=addresses)


def test_an_old_eni_of_nobody_goes():
    assert found() == (Garbage(eni_id=OLD.id, place=None),)


def test_what_a_pod_runs_with_stays_and_so_does_what_was_made_with_it():
    beside = replace(OLD, id=ENIId("eni-2"), primary_ipv4=IPv4Address("10.0.0.2"), ipv4=())
    other = replace(OLD, id=ENIId("eni-3"), tags=tags_of("c1", "uid-3"))
    other = replace(other, primary_ipv4=IPv4Address("10.0.0.3"), ipv4=())

    gone = find_garbage(
        (beside, other, OLD), owned=(), creating=(), now=NOW, addresses={"10.0.0.1"}
    )

    assert [one.eni_id for one in gone] == [other.id]


def test_a_member_is_detached_first():
    at = replace(
        OLD,
        type=ENIType.MEMBER,
        status=ENIStatus.IN_USE,
        instance_id=InstanceId("i-1"),
        trunk_eni_id=ENIId("eni-trunk"),
    )

    (one,) = found(at)

    assert one.place == Target(instance_id=InstanceId("i-1"), trunk_eni_id=ENIId("eni-trunk"))


@pytest.mark.parametrize(
    ("eni", "more"),
    [
        (OLD, {"owned": {OLD.id}}),
        (OLD, {"creating": {"uid-1"}}),
        (replace(OLD, creation_time="2026-09-21T14:10:00Z"), {}),
        (replace(OLD, creation_time=""), {}),
        (replace(OLD, status=ENIStatus.ATTACHING), {}),
        (replace(OLD, type=ENIType.TRUNK), {}),
    ],
    ids=["owned", "being recorded", "young", "of no age", "under way", "a trunk"],
)
def test_others_stay(eni, more):
    now = 1_789_999_800.0  # 2026-09-21T14:10:00Z
    assert found(eni, **{"now": now, **more}) == ()
