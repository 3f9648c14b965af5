"""CLB: groups of backends ("vServer groups") and the backends in them.

Source: OpenAPI SLB 2014-05-15, the actions' own pages: BackendServers is a JSON list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_words import check_range, parse_json, tag_set
from terway.lab.cloud.balancer_records import ServerRecord, VServerGroupRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World, utc_seconds
from terway.model.address import IPNetwork

MAX_PER_CALL = 20  # backends
PARAMETER = "BackendServers"


class Backend(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A backend in a request."""

    server_id: str
    port: int
    type: str = "ecs"
    server_ip: str = ""
    weight: int = 100
    description: str = ""


def parse_backends(world: World, text: str) -> tuple[ServerRecord, ...]:
    """Return the backends of a request. Raises Refusal for the first that cannot be one."""
    found = parse_json(PARAMETER, text, list[Backend]) if text else []
    if len(found) > MAX_PER_CALL:
        raise invalid(PARAMETER, f"at most {MAX_PER_CALL} backend servers at once")
    return tuple(_record(world, one) for one in found)


def _record(world: World, one: Backend) -> ServerRecord:
    check_range("Port", one.port, 1, 65535)
    check_range("Weight", one.weight, 0, 100)
    if one.type not in ("ecs", "eni"):
        raise invalid("Type", f"{one.type} is not emulated; known: ecs, eni")
    is_instance = one.type == "ecs" and one.server_id in world.state.instances
    is_eni = one.type == "eni" and one.server_id in world.state.enis
    if not is_instance and not is_eni:
        message = f"The specified ServerId does not exist: {one.server_id}."
        raise Refusal("InvalidBackendServerId.NotFound", message, status=404)
    return ServerRecord(
        server_id=one.server_id,
        kind=one.type,
        ip=_server_ip(world, one),
        port=one.port,
        weight=one.weight,
        description=one.description,
    )


def _server_ip(world: World, one: Backend) -> str:
    if one.type == "ecs":
        return ""
    eni = world.state.eni(one.server_id)
    if not one.server_ip:
        return str(eni.ipv4[0])
    try:
        address = ip_address(one.server_ip)
    except ValueError as error:
        raise invalid("ServerIp", str(error)) from error
    prefixes: tuple[IPNetwork, ...] = (*eni.ipv4_prefixes, *eni.ipv6_prefixes)
    if address not in (*eni.ipv4, *eni.ipv6) and not any(address in one for one in prefixes):
        message = f"The ServerIp {address} is not an address of {eni.id}."
        raise Refusal("InvalidServerIp.NotFound", message)
    return str(address)


class CreateVServerGroup(Regional):
    """The parameters."""

    load_balancer_id: str
    v_server_group_name: str = ""
    backend_servers: str = ""
    tag: tuple[Tag, ...] = ()


def create_group(world: World, request: CreateVServerGroup) -> Answer:
    """Make a group of an instance."""
    held = world.state.balancing
    clb = held.clb(request.load_balancer_id)
    servers = _without_doubles((), parse_backends(world, request.backend_servers))
    made = VServerGroupRecord(
        id=world.ids.new("rsp"),
        serial=world.ids.serial(),
        balancer_id=clb.id,
        name=request.v_server_group_name or "default",
        created_at=world.now(),
        servers=servers,
        tags=check_tags(world, request.tag),
    )
    held.put(made)
    return _answer(made)


def _without_doubles(
    there: Sequence[ServerRecord], new: Iterable[ServerRecord]
) -> tuple[ServerRecord, ...]:
    """Return both; one that is there already has the new weight and description."""
    merged = {one.identity: one for one in (*there, *new)}
    return tuple(merged.values())


def _answer(group: VServerGroupRecord) -> Answer:
    return {
        "VServerGroupId": group.id,
        "BackendServers": {"BackendServer": [_named(one) for one in group.servers]},
    }


def _described(one: ServerRecord) -> dict[str, Any]:
    return {**_named(one), "ServerIp": one.ip}


def _named(one: ServerRecord) -> dict[str, Any]:
    """Return a backend as the answers to changes have it: without its address."""
    return {
        "ServerId": one.server_id,
        "Type": one.kind,
        "Port": one.port,
        "Weight": one.weight,
        "Description": one.description,
    }


class OneGroup(Request):
    """The parameters of an action about one group."""

    v_server_group_id: str


def delete_group(world: World, request: OneGroup) -> Answer:
    """Delete a group that no listener uses."""
    held = world.state.balancing
    group = held.vserver_group(request.v_server_group_id)
    if any(one.group_id == group.id for one in held.clb_listeners.values()):
        raise Refusal("RspoolVipExist", "There are vips associating with this vServer group.")
    held.remove(group)
    return {}


class DescribeVServerGroups(Regional):
    """The parameters."""

    load_balancer_id: str
    include_listener: bool = False
    include_rule: bool = False
    tag: tuple[Tag, ...] = ()


def describe_groups(world: World, request: DescribeVServerGroups) -> Answer:
    """List the groups of an instance."""
    held = world.state.balancing
    groups = held.groups_of_clb(held.clb(request.load_balancer_id).id)
    found = [
        _listed(world, one, request.include_listener)
        for one in groups
        if has_tags(one.tags, request.tag)
    ]
    return {"VServerGroups": {"VServerGroup": found}}


def _listed(world: World, group: VServerGroupRecord, with_listeners: bool) -> dict[str, Any]:
    users = [
        {"Port": one.port, "Protocol": one.protocol}
        for one in world.state.balancing.clb_listeners.values()
        if with_listeners and one.group_id == group.id
    ]
    return {
        "VServerGroupId": group.id,
        "VServerGroupName": group.name,
        "ServerCount": len(group.servers),
        "CreateTime": utc_seconds(group.created_at),
        "AssociatedObjects": {"Listeners": {"Listener": users}, "Rules": {"Rule": []}},
        "Tags": tag_set(group.tags),
    }


def describe_group(world: World, request: OneGroup) -> Answer:
    """Describe a group with its backends."""
    group = world.state.balancing.vserver_group(request.v_server_group_id)
    return {
        **_answer(group),
        "BackendServers": {"BackendServer": [_described(one) for one in group.servers]},
        "VServerGroupName": group.name,
        "LoadBalancerId": group.balancer_id,
        "CreateTime": utc_seconds(group.created_at),
        "Tags": tag_set(group.tags),
    }


class GroupBackends(OneGroup):
    """The parameters of adding and removing backends."""

    backend_servers: str


def add_backends(world: World, request: GroupBackends) -> Answer:
    """Add backends; one that is there already gets the new weight."""
    group = world.state.balancing.vserver_group(request.v_server_group_id)
    new = parse_backends(world, request.backend_servers)
    return _changed(world, group, _without_doubles(group.servers, new))


def _changed(world: World, group: VServerGroupRecord, servers: Iterable[ServerRecord]) -> Answer:
    changed = replace(group, servers=tuple(servers))
    limit = world.limits.servers_per_group
    if len(changed.servers) > limit:
        message = f"A vServer group can have {limit} backend servers."
        raise Refusal("TooManyBackendServers", message)
    world.state.balancing.put(changed)
    return _answer(changed)


def _identities(text: str, parameter: str) -> list[tuple[str, str, str, int]]:
    """Return which backends a request names: they need not exist any more."""
    found = parse_json(parameter, text, list[Backend])
    if len(found) > MAX_PER_CALL:
        raise invalid(parameter, f"at most {MAX_PER_CALL} backend servers at once")
    return [(one.server_id, one.type, one.server_ip, one.port) for one in found]


def _is_named(one: ServerRecord, named: tuple[str, str, str, int]) -> bool:
    server_id, kind, ip, port = named
    same = (one.server_id, one.port) == (server_id, port) and one.kind == kind
    return same and ip in ("", one.ip)


def remove_backends(world: World, request: GroupBackends) -> Answer:
    """Remove backends; one that is not there is none."""
    group = world.state.balancing.vserver_group(request.v_server_group_id)
    gone = _identities(request.backend_servers, PARAMETER)
    kept = (one for one in group.servers if not any(_is_named(one, name) for name in gone))
    return _changed(world, group, kept)


class ModifyVServerGroupBackendServers(OneGroup):
    """The parameters."""

    old_backend_servers: str
    new_backend_servers: str


def modify_backends(world: World, request: ModifyVServerGroupBackendServers) -> Answer:
    """Replace backends by others, in one step."""
    group = world.state.balancing.vserver_group(request.v_server_group_id)
    gone = _identities(request.old_backend_servers, "OldBackendServers")
    new = parse_backends(world, request.new_backend_servers)
    kept = [one for one in group.servers if not any(_is_named(one, name) for name in gone)]
    return _changed(world, group, _without_doubles(kept, new))


class SetVServerGroupAttribute(OneGroup):
    """The parameters."""

    v_server_group_name: str = ""
    backend_servers: str = ""


def set_group(world: World, request: SetVServerGroupAttribute) -> Answer:
    """Rename a group, and give backends that are in it other weights and descriptions."""
    group = world.state.balancing.vserver_group(request.v_server_group_id)
    new = parse_backends(world, request.backend_servers)
    there = {one.identity for one in group.servers}
    unknown = next((one for one in new if one.identity not in there), None)
    if unknown is not None:
        message = f"The specified backend server is not in the group: {unknown.server_id}."
        raise Refusal("InvalidBackendServers.NotFound", message)
    renamed = replace(group, name=request.v_server_group_name or group.name)
    return _changed(world, renamed, _without_doubles(group.servers, new))


ACTIONS: Actions = {
    "CreateVServerGroup": Action(request=CreateVServerGroup, run=create_group),
    "DeleteVServerGroup": Action(request=OneGroup, run=delete_group),
    "DescribeVServerGroups": Action(request=DescribeVServerGroups, run=describe_groups),
    "DescribeVServerGroupAttribute": Action(request=OneGroup, run=describe_group),
    "AddVServerGroupBackendServers": Action(request=GroupBackends, run=add_backends),
    "RemoveVServerGroupBackendServers": Action(request=GroupBackends, run=remove_backends),
    "ModifyVServerGroupBackendServers": Action(
        request=ModifyVServerGroupBackendServers, run=modify_backends
    ),
    "SetVServerGroupAttribute": Action(request=SetVServerGroupAttribute, run=set_group),
}
