"""NLB: make, change, list and delete server groups.

Source: OpenAPI NLB 2022-04-30, the actions' own pages. A client's address is always kept here:
PreserveClientIpEnabled false, and ports without a listener of their own, are refused by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.nlb_health import HealthCheckConfig, changed_check, described_check
from terway.lab.cloud.actions.nlb_jobs import begin_job, job_end
from terway.lab.cloud.balancer_records import HealthCheckRecord, ServerGroupRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_token
from terway.lab.cloud.refusal import Refusal, invalid, unsupported
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World

MAX_PER_PAGE = 100
SCHEDULERS = ("wrr", "rr", "sch", "tch", "wlc")  # "qch" is QUIC's
PROTOCOLS = ("TCP", "UDP", "TCP_UDP")
SHORTEST_DRAIN_S, LONGEST_DRAIN_S = 0, 900
NLB_CHECK = HealthCheckRecord(interval_s=10, healthy_after=2, unhealthy_after=2)


class CreateServerGroup(Request):
    """The parameters."""

    server_group_name: str
    vpc_id: str
    server_group_type: str = "Instance"
    protocol: str = "TCP"
    address_ip_version: str = msgspec.field(default="ipv4", name="AddressIPVersion")
    scheduler: str = "wrr"
    connection_drain_enabled: bool = False
    connection_drain_timeout: int = 10
    preserve_client_ip_enabled: bool = True
    health_check_config: HealthCheckConfig = HealthCheckConfig()
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_group(world: World, request: CreateServerGroup) -> Answer:
    """Begin to make a group without servers."""
    if request.server_group_type not in ("Instance", "Ip"):
        raise invalid("ServerGroupType", "it must be Instance or Ip")
    if request.protocol not in PROTOCOLS:
        raise unsupported("CreateServerGroup", f"Protocol={request.protocol}")
    _check_preserved("CreateServerGroup", request.preserve_client_ip_enabled)
    check = NLB_CHECK if request.protocol == "TCP" else replace(NLB_CHECK, kind="udp")
    new = ServerGroupRecord(
        id=world.ids.new("sgp"),
        serial=world.ids.serial(),
        name=request.server_group_name,
        vpc_id=world.state.vpc(request.vpc_id).id,
        kind=request.server_group_type,
        protocol=request.protocol,
        scheduler=_scheduler(request.scheduler),
        is_dual_stack=request.address_ip_version.lower() == "dualstack",
        created_at=world.now(),
        ready_at=job_end(world),
        check=changed_check(check, request.health_check_config),
        is_drained=request.connection_drain_enabled,
        drain_s=_drain_s(request.connection_drain_timeout),
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.balancing.put(new)
    return {"ServerGroupId": new.id, "JobId": begin_job(world).id}


def _check_preserved(action: str, is_preserved: bool | None) -> None:
    if is_preserved is False:
        raise unsupported(action, "PreserveClientIpEnabled=false")


def _scheduler(scheduler: str) -> str:
    if scheduler.lower() not in SCHEDULERS:
        raise invalid("Scheduler", f"it must be one of {', '.join(SCHEDULERS)}")
    return scheduler.lower()


def _drain_s(timeout_s: int) -> int:
    if not SHORTEST_DRAIN_S <= timeout_s <= LONGEST_DRAIN_S:
        raise invalid("ConnectionDrainTimeout", f"{timeout_s} is not in 0 to {LONGEST_DRAIN_S}")
    return timeout_s


def settled_group(world: World, group_id: str) -> ServerGroupRecord:
    """Return a group that no change is under way of. Raises Refusal."""
    group = world.state.balancing.server_group(group_id)
    if group.ready_at > world.now():
        message = f"The status of servergroup [{group.id}] is incorrect."
        raise Refusal("IncorrectStatus.serverGroup", message)
    return group


class UpdateServerGroupAttribute(Request):
    """The parameters; what is not given stays."""

    server_group_id: str
    server_group_name: str = ""
    scheduler: str = ""
    connection_drain_enabled: bool | None = None
    connection_drain_timeout: int | None = None
    preserve_client_ip_enabled: bool | None = None
    health_check_config: HealthCheckConfig = HealthCheckConfig()
    client_token: str = ""


def update_group(world: World, request: UpdateServerGroupAttribute) -> Answer:
    """Change a group."""
    group = settled_group(world, request.server_group_id)
    _check_preserved("UpdateServerGroupAttribute", request.preserve_client_ip_enabled)
    draining, drain_s = request.connection_drain_enabled, request.connection_drain_timeout
    changed = replace(
        group,
        name=request.server_group_name or group.name,
        scheduler=_scheduler(request.scheduler or group.scheduler),
        is_drained=group.is_drained if draining is None else draining,
        drain_s=_drain_s(group.drain_s if drain_s is None else drain_s),
        check=changed_check(group.check, request.health_check_config),
        ready_at=job_end(world),
    )
    world.state.balancing.put(changed)
    return {"ServerGroupId": group.id, "JobId": begin_job(world).id}


class OneGroup(Request):
    """The parameters of an action about one group."""

    server_group_id: str
    client_token: str = ""


def delete_group(world: World, request: OneGroup) -> Answer:
    """Delete a group that no listener uses."""
    held = world.state.balancing
    group = settled_group(world, request.server_group_id)
    if any(one.group_id == group.id for one in held.nlb_listeners.values()):
        message = "The specified resource of ServerGroup is in use."
        raise Refusal("ResourceInUse.ServerGroup", message)
    held.remove(group)
    return {"JobId": begin_job(world).id}


class ListServerGroups(Request):
    """The parameters."""

    server_group_ids: tuple[str, ...] = ()
    server_group_names: tuple[str, ...] = ()
    server_group_type: str = ""
    vpc_id: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    max_results: int = 20
    next_token: str = ""


def list_groups(world: World, request: ListServerGroups) -> Answer:
    """List groups."""
    found = [one for one in world.state.balancing.server_groups.values() if _matches(one, request)]
    size = min(request.max_results, MAX_PER_PAGE)
    page, following = page_by_token(found, token=request.next_token, size=size)
    return {
        "ServerGroups": [_described(world, one) for one in page],
        "NextToken": following,
        "MaxResults": size,
        "TotalCount": len(found),
    }


def _matches(group: ServerGroupRecord, request: ListServerGroups) -> bool:
    equal = (
        (request.server_group_type, group.kind),
        (request.vpc_id, group.vpc_id),
        (request.resource_group_id, group.resource_group_id),
    )
    named = not request.server_group_ids or group.id in request.server_group_ids
    called = not request.server_group_names or group.name in request.server_group_names
    same = all(not wanted or wanted == value for wanted, value in equal)
    return named and called and same and has_tags(group.tags, request.tag)


def _status(world: World, group: ServerGroupRecord) -> str:
    if group.ready_at <= world.now():
        return "Available"
    is_new = group.ready_at - group.created_at <= world.delays.job_s
    return "Creating" if is_new else "Configuring"


def _described(world: World, group: ServerGroupRecord) -> dict[str, Any]:
    held = world.state.balancing
    users = {one.balancer_id for one in held.nlb_listeners.values() if one.group_id == group.id}
    return {
        "ServerGroupId": group.id,
        "ServerGroupName": group.name,
        "ServerGroupType": group.kind,
        "ServerGroupStatus": _status(world, group),
        "Protocol": group.protocol,
        "AddressIPVersion": "DualStack" if group.is_dual_stack else "ipv4",
        "Scheduler": group.scheduler,
        "VpcId": group.vpc_id,
        "RegionId": world.place.region_id,
        "ConnectionDrainEnabled": group.is_drained,
        "ConnectionDrainTimeout": group.drain_s,
        "PreserveClientIpEnabled": True,
        "AnyPortEnabled": False,
        "HealthCheck": described_check(group.check),
        "ServerCount": len(group.servers),
        "RelatedLoadBalancerIds": sorted(users),
        "ResourceGroupId": group.resource_group_id,
        "Tags": [{"Key": key, "Value": value} for key, value in group.tags],
    }


ACTIONS: Actions = {
    "CreateServerGroup": Action(request=CreateServerGroup, run=create_group),
    "UpdateServerGroupAttribute": Action(request=UpdateServerGroupAttribute, run=update_group),
    "DeleteServerGroup": Action(request=OneGroup, run=delete_group),
    "ListServerGroups": Action(request=ListServerGroups, run=list_groups),
}
