"""ECS: run, start, stop and delete instances.

Source: OpenAPI ECS 2014-05-26, the actions' own pages.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.eni_checks import check_address_limits
from terway.lab.cloud.eni_factory import (
    ENIWish,
    check_count,
    check_groups,
    check_tags,
    make_eni,
    one_of,
)
from terway.lab.cloud.records import ENIRecord, InstanceRecord, InstanceStatus
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, missing
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.transitions import InstanceReached, detached
from terway.lab.cloud.world import World
from terway.model.eni import ENIStatus, ENIType
from terway.model.ids import InstanceId

MAX_AMOUNT = 100


class RunInstances(Regional):
    """The parameters that matter for the network; disks, keys and prices are not emulated."""

    image_id: str
    instance_type: str
    v_switch_id: str
    security_group_id: str = ""
    security_group_ids: tuple[str, ...] = ()
    amount: int = 1
    instance_name: str = ""
    host_name: str = ""
    description: str = ""
    private_ip_address: IPv4Address | None = None
    ipv6_address: tuple[IPv6Address, ...] = ()
    ipv6_address_count: int | None = None
    zone_id: str = ""
    ram_role_name: str = ""
    http_tokens: str = "optional"
    deletion_protection: bool = False
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def run_instances(world: World, request: RunInstances) -> Answer:
    """Make instances with their primary ENIs; they are Running after a while."""
    _check_run(world, request)
    before = {**world.state.cursors}
    made: list[InstanceRecord] = []
    try:
        # Those made before a refusal are in the list, too.
        made.extend(_run_one(world, request) for _ in range(request.amount))
    except Refusal:
        _undo(world, made, before)
        raise
    for instance in made:
        _start(world, instance, InstanceStatus.PENDING)
    return {"InstanceIdSets": {"InstanceIdSet": [instance.id for instance in made]}}


def _check_run(world: World, request: RunInstances) -> None:
    world.type_of(request.instance_type)
    vswitch = world.state.vswitch(request.v_switch_id)
    if request.zone_id not in ("", vswitch.zone_id):
        raise invalid("ZoneId", f"{vswitch.id} is in {vswitch.zone_id}")
    if not 1 <= request.amount <= MAX_AMOUNT:
        raise forbidden("InvalidParam.Amount", f"Amount must be in 1 to {MAX_AMOUNT}.")
    if request.amount > 1 and (request.private_ip_address or request.ipv6_address):
        raise invalid("Amount", "an address can be given to one instance only")
    if request.http_tokens not in ("optional", "required"):
        raise invalid("HttpTokens", "it must be optional or required")


def _run_one(world: World, request: RunInstances) -> InstanceRecord:
    eni = _primary_eni(world, request)
    instance_id = InstanceId(world.ids.new("i"))
    instance = InstanceRecord(
        id=instance_id,
        serial=world.ids.serial(),
        instance_type=request.instance_type,
        status=InstanceStatus.PENDING,
        name=request.instance_name or instance_id,
        host_name=request.host_name or instance_id.replace("-", ""),
        description=request.description,
        image_id=request.image_id,
        vpc_id=eni.vpc_id,
        vswitch_id=eni.vswitch_id,
        zone_id=eni.zone_id,
        primary_eni_id=eni.id,
        created_at=world.now(),
        role=request.ram_role_name,
        hardened=request.http_tokens == "required",
        deletion_protection=request.deletion_protection,
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    check_address_limits(world, eni, instance)
    attached = replace(eni, status=ENIStatus.IN_USE, instance_id=instance.id, slot=0)
    world.state.put(attached, instance)
    return instance


def _primary_eni(world: World, request: RunInstances) -> ENIRecord:
    vswitch = world.state.vswitch(request.v_switch_id)
    ids = one_of(request.security_group_id, request.security_group_ids)
    most = world.limits.ipv6_per_call
    wish = ENIWish(
        vswitch=vswitch,
        groups=check_groups(world, vswitch, ids),
        primary=request.private_ip_address,
        ipv6=request.ipv6_address,
        ipv6_count=check_count("Ipv6AddressCount", request.ipv6_address_count, most=most),
        type=ENIType.PRIMARY,
    )
    return make_eni(world, wish)


def _undo(world: World, made: list[InstanceRecord], cursors: dict[str, int]) -> None:
    for instance in made:
        world.state.remove(*world.state.enis_of(instance.id), instance)
    world.state.cursors = cursors


def _start(world: World, instance: InstanceRecord, before: InstanceStatus) -> None:
    running = InstanceReached(instance_id=instance.id, before=before, status=InstanceStatus.RUNNING)
    world.later(world.delays.start_s, running)


class StartInstance(Request):
    """The parameters."""

    instance_id: str


def start_instance(world: World, request: StartInstance) -> Answer:
    """Begin to start a stopped instance."""
    instance = world.state.instance(request.instance_id)
    _expect(instance, InstanceStatus.STOPPED)
    world.state.put(replace(instance, status=InstanceStatus.STARTING))
    _start(world, instance, InstanceStatus.STARTING)
    return {}


class StopInstance(Request):
    """The parameters."""

    instance_id: str
    force_stop: bool = False
    stopped_mode: str = ""


def stop_instance(world: World, request: StopInstance) -> Answer:
    """Begin to stop a running instance. Its ENIs and addresses stay."""
    instance = world.state.instance(request.instance_id)
    _expect(instance, InstanceStatus.RUNNING)
    world.state.put(replace(instance, status=InstanceStatus.STOPPING))
    stopped = InstanceReached(
        instance_id=instance.id, before=InstanceStatus.STOPPING, status=InstanceStatus.STOPPED
    )
    world.later(world.delays.stop_s, stopped)
    return {}


def _expect(instance: InstanceRecord, status: InstanceStatus) -> None:
    if instance.status is not status:
        message = f"The instance is {instance.status.value}; it must be {status.value}."
        raise forbidden("IncorrectInstanceStatus", message)


class DeleteInstance(Request):
    """The parameters."""

    instance_id: str
    force: bool = False


def delete_instance(world: World, request: DeleteInstance) -> Answer:
    """Delete an instance: at once, with the ENIs that are released with it."""
    instance = world.state.instance(request.instance_id)
    _check_deletable(instance, force=request.force)
    _delete(world, instance)
    return {}


class DeleteInstances(Regional):
    """The parameters."""

    instance_id: tuple[str, ...]
    force: bool = False
    client_token: str = ""


def delete_instances(world: World, request: DeleteInstances) -> Answer:
    """Delete instances: all of them, or none."""
    if not request.instance_id:
        raise missing("InstanceId")
    instances = [world.state.instance(instance_id) for instance_id in set(request.instance_id)]
    for instance in instances:
        _check_deletable(instance, force=request.force)
    for instance in instances:
        _delete(world, instance)
    return {}


def _check_deletable(instance: InstanceRecord, *, force: bool) -> None:
    if instance.deletion_protection:
        message = f"{instance.id} is protected against deletion."
        raise forbidden("InvalidOperation.DeletionProtection", message)
    if not force:
        _expect(instance, InstanceStatus.STOPPED)


def _delete(world: World, instance: InstanceRecord) -> None:
    for eni in world.state.enis_of(instance.id):
        if eni.type is ENIType.PRIMARY or eni.delete_on_release:
            world.state.remove(eni)
        else:
            world.state.put(detached(eni))
    world.state.remove(instance)


ACTIONS: Actions = {
    "RunInstances": Action(request=RunInstances, run=run_instances),
    "StartInstance": Action(request=StartInstance, run=start_instance),
    "StopInstance": Action(request=StopInstance, run=stop_instance),
    "DeleteInstance": Action(request=DeleteInstance, run=delete_instance),
    "DeleteInstances": Action(request=DeleteInstances, run=delete_instances),
}
