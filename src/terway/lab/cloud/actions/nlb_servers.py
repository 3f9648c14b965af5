"""NLB: the servers of a server group.

Source: OpenAPI NLB 2022-04-30, AddServersToServerGroup, RemoveServersFromServerGroup,
UpdateServerGroupServersAttribute, ListServerGroupServers.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.nlb_groups import settled_group
from terway.lab.cloud.actions.nlb_jobs import begin_job, job_end
from terway.lab.cloud.actions.slb_words import check_range
from terway.lab.cloud.balancer_records import ServerGroupRecord, ServerRecord
from terway.lab.cloud.balancer_state import resource_not_found
from terway.lab.cloud.refusal import Refusal, invalid, missing
from terway.lab.cloud.requests import Request
from terway.lab.cloud.world import World

MAX_PER_CALL = 200
MAX_PER_PAGE = 100
_KINDS = {"Instance": ("Ecs", "Eni", "Eci"), "Ip": ("Ip",)}


class Server(Request):
    """A server in a request."""

    server_id: str
    server_type: str
    port: int
    server_ip: str = ""
    weight: int | None = None
    description: str | None = None


class GroupServers(Request):
    """The parameters of all three changes."""

    server_group_id: str
    servers: tuple[Server, ...]
    client_token: str = ""


def _identity(world: World, group: ServerGroupRecord, one: Server) -> ServerRecord:
    """Return a server as the group keeps it. Raises Refusal for one that it cannot have."""
    if one.server_type not in _KINDS[group.kind]:
        kinds = ", ".join(_KINDS[group.kind])
        raise invalid("ServerType", f"{one.server_type} in a group of {group.kind}: {kinds}")
    return ServerRecord(
        server_id=one.server_id,
        kind=one.server_type,
        ip=_ip(world, one),
        port=check_range("Port", one.port, 1, 65535),
        weight=100 if one.weight is None else check_range("Weight", one.weight, 0, 100),
        description=one.description or "",
    )


def _ip(world: World, one: Server) -> str:
    if one.server_type == "Ecs":
        return ""
    text = one.server_id if one.server_type == "Ip" else one.server_ip
    if not text and one.server_id in world.state.enis:
        return str(world.state.eni(one.server_id).ipv4[0])
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise invalid("ServerIp", str(error)) from error


def _check_there(world: World, one: ServerRecord) -> None:
    """An address needs no owner; an instance or ENI has to exist."""
    known = {"Ecs": world.state.instances.keys(), "Eni": world.state.enis.keys()}.get(one.kind)
    if known is not None and one.server_id not in known:
        raise resource_not_found("BackendServer", one.server_id)


def _named(world: World, request: GroupServers) -> tuple[ServerGroupRecord, list[ServerRecord]]:
    group = settled_group(world, request.server_group_id)
    if not request.servers:
        raise missing("Servers")
    if len(request.servers) > MAX_PER_CALL:
        raise invalid("Servers", f"at most {MAX_PER_CALL} at once")
    named = [_identity(world, group, one) for one in request.servers]
    if len({one.identity for one in named}) < len(named):
        raise Refusal("DuplicatedParam.Server", "The param of Server is duplicated.")
    return group, named


def add_servers(world: World, request: GroupServers) -> Answer:
    """Add servers that the group does not have."""
    group, named = _named(world, request)
    there = {one.identity for one in group.servers}
    double = next((one for one in named if one.identity in there), None)
    if double is not None:
        message = f"The backend server {double.server_id}:{double.port} is there already."
        raise Refusal("ResourceAlreadyExist.BackendServer", message)
    for one in named:
        _check_there(world, one)
    return _changed(world, group, (*group.servers, *named))


def _changed(world: World, group: ServerGroupRecord, servers: tuple[ServerRecord, ...]) -> Answer:
    if len(servers) > world.limits.servers_per_group:
        raise Refusal("QuotaExceeded.ServersNum", "The quota of servers in a group is exceeded.")
    world.state.balancing.put(replace(group, servers=servers, ready_at=job_end(world)))
    return {"ServerGroupId": group.id, "JobId": begin_job(world).id}


def _require_there(group: ServerGroupRecord, named: list[ServerRecord]) -> None:
    there = {one.identity for one in group.servers}
    gone = next((one for one in named if one.identity not in there), None)
    if gone is not None:
        raise resource_not_found("BackendServer", f"{gone.server_id}:{gone.port}")


def remove_servers(world: World, request: GroupServers) -> Answer:
    """Remove servers. Raises Refusal, and removes none, when one is not there."""
    group, named = _named(world, request)
    _require_there(group, named)
    gone = {one.identity for one in named}
    return _changed(world, group, tuple(one for one in group.servers if one.identity not in gone))


def update_servers(world: World, request: GroupServers) -> Answer:
    """Give servers other weights and descriptions; what is not given stays."""
    group, named = _named(world, request)
    _require_there(group, named)
    said = {one.identity: wish for one, wish in zip(named, request.servers, strict=True)}
    servers = tuple(
        _updated(one, said[one.identity]) if one.identity in said else one for one in group.servers
    )
    return _changed(world, group, servers)


def _updated(held: ServerRecord, said: Server) -> ServerRecord:
    return replace(
        held,
        weight=held.weight if said.weight is None else said.weight,
        description=held.description if said.description is None else said.description,
    )


class ListServerGroupServers(Request):
    """The parameters."""

    server_group_id: str = ""
    server_ids: tuple[str, ...] = ()
    server_ips: tuple[str, ...] = ()
    max_results: int = 20
    next_token: str = ""


def list_servers(world: World, request: ListServerGroupServers) -> Answer:
    """List the servers of a group, or of all."""
    held = world.state.balancing
    groups = (
        [held.server_group(request.server_group_id)]
        if request.server_group_id
        else [*held.server_groups.values()]
    )
    found = [
        (group, one)
        for group in groups
        for one in group.servers
        if not request.server_ids or one.server_id in request.server_ids
        if not request.server_ips or one.ip in request.server_ips
    ]
    start = int(request.next_token or 0)
    end = start + min(request.max_results, MAX_PER_PAGE)
    return {
        "Servers": [_described(world, group, one) for group, one in found[start:end]],
        "NextToken": str(end) if end < len(found) else "",
        "MaxResults": end - start,
        "TotalCount": len(found),
    }


def _described(world: World, group: ServerGroupRecord, one: ServerRecord) -> dict[str, Any]:
    return {
        "ServerGroupId": group.id,
        "ServerId": one.server_id,
        "ServerType": one.kind,
        "ServerIp": one.ip,
        "Port": one.port,
        "Weight": one.weight,
        "Description": one.description,
        "Status": "Available" if group.ready_at <= world.now() else "Configuring",
        "ZoneId": "",
    }


ACTIONS: Actions = {
    "AddServersToServerGroup": Action(request=GroupServers, run=add_servers),
    "RemoveServersFromServerGroup": Action(request=GroupServers, run=remove_servers),
    "UpdateServerGroupServersAttribute": Action(request=GroupServers, run=update_servers),
    "ListServerGroupServers": Action(request=ListServerGroupServers, run=list_servers),
}
