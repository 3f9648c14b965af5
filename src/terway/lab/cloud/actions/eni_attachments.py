"""ECS: attach ENIs to instances and detach them, as devices or as members of a trunk.

Source: OpenAPI ECS 2014-05-26, AttachNetworkInterface and DetachNetworkInterface. Their pages
have TrunkNetworkInstanceId without a word on it; what upstream's control plane relies on is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.eni_checks import check_ecs_state, check_place, check_room, expect_status
from terway.lab.cloud.records import ENIRecord, InstanceRecord
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.requests import Regional
from terway.lab.cloud.transitions import ENIAttached, ENIDetached
from terway.lab.cloud.trunks import (
    check_detachable,
    check_member_room,
    check_trunk,
    free_vlan_id,
)
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType


class AttachNetworkInterface(Regional):
    """The parameters. Several network cards are not emulated."""

    network_interface_id: str
    instance_id: str
    trunk_network_instance_id: str = ""


def attach_network_interface(world: World, request: AttachNetworkInterface) -> Answer:
    """Begin to attach an ENI to an instance, or to a trunk that the instance has."""
    eni = world.state.eni(request.network_interface_id)
    instance = world.state.ecs(request.instance_id)
    expect_status(eni, ENIStatus.AVAILABLE)
    check_place(eni, instance)
    check_ecs_state(instance)
    if request.trunk_network_instance_id:
        _attach_member(world, eni, instance, request.trunk_network_instance_id)
    else:
        _attach_device(world, eni, instance)
    return {}


def _attach_device(world: World, eni: ENIRecord, instance: InstanceRecord) -> None:
    attached = world.state.enis_of(instance.id)
    check_room(world, eni, instance, attached)
    slot = _free_slot(attached)
    world.state.put(replace(eni, status=ENIStatus.ATTACHING, instance_id=instance.id, slot=slot))
    world.later(world.delays.attach_s, ENIAttached(eni_id=eni.id))


def _free_slot(attached: Sequence[ENIRecord]) -> int:
    used = {eni.slot for eni in attached}
    return next(slot for slot in range(1, len(used) + 2) if slot not in used)


def _attach_member(world: World, eni: ENIRecord, instance: InstanceRecord, trunk_id: str) -> None:
    trunk = check_trunk(world, trunk_id, instance)
    attached = world.state.enis_of(instance.id)
    check_member_room(world, eni, instance, attached)
    member = replace(
        eni,
        type=ENIType.MEMBER,
        status=ENIStatus.ATTACHING,
        instance_id=instance.id,
        trunk_id=trunk.id,
        vlan_id=free_vlan_id(attached),
    )
    world.state.put(member)
    world.later(world.delays.attach_member_s, ENIAttached(eni_id=eni.id))


class DetachNetworkInterface(Regional):
    """The parameters. A member's trunk must be named."""

    network_interface_id: str
    instance_id: str
    trunk_network_instance_id: str = ""


def detach_network_interface(world: World, request: DetachNetworkInterface) -> Answer:
    """Begin to detach an ENI from its instance, or a member from its trunk."""
    eni = world.state.eni(request.network_interface_id)
    instance = world.state.ecs(request.instance_id)
    if eni.type is ENIType.PRIMARY:
        message = "The primary ENI of an instance cannot be detached."
        raise Refusal("InvalidOperation.DetachPrimaryEniNotAllowed", message)
    expect_status(eni, ENIStatus.IN_USE)
    if eni.instance_id != instance.id:
        raise invalid("InstanceId", f"{eni.id} is attached to {eni.instance_id}")
    check_detachable(eni, request.trunk_network_instance_id, world.state.enis_of(instance.id))
    check_ecs_state(instance)
    world.state.put(replace(eni, status=ENIStatus.DETACHING))
    is_member = eni.trunk_id is not None
    delay_s = world.delays.detach_member_s if is_member else world.delays.detach_s
    world.later(delay_s, ENIDetached(eni_id=eni.id))
    return {}


ACTIONS: Actions = {
    "AttachNetworkInterface": Action(request=AttachNetworkInterface, run=attach_network_interface),
    "DetachNetworkInterface": Action(request=DetachNetworkInterface, run=detach_network_interface),
}
