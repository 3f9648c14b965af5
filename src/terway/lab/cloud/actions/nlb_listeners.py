"""NLB: make, change, start, stop and delete listeners; the health of their servers.

Source: OpenAPI NLB 2022-04-30, the actions' own pages. TCPSSL and ranges of ports are not emulated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.nlb_instances import settled_nlb
from terway.lab.cloud.actions.nlb_jobs import begin_job, job_end
from terway.lab.cloud.actions.slb_words import check_range
from terway.lab.cloud.balancer_records import NlbListenerRecord, ServerGroupRecord
from terway.lab.cloud.balancer_view import server_addresses
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_by_token
from terway.lab.cloud.refusal import Refusal, unsupported
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World

MAX_PER_PAGE = 100


class CreateListener(Request):
    """The parameters."""

    load_balancer_id: str
    listener_protocol: str
    listener_port: int
    server_group_id: str
    listener_description: str = ""
    idle_timeout: int = 900
    proxy_protocol_enabled: bool = False
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_listener(world: World, request: CreateListener) -> Answer:
    """Begin to make a listener, which then runs."""
    held = world.state.balancing
    nlb = settled_nlb(world, request.load_balancer_id)
    if request.listener_protocol not in ("TCP", "UDP"):
        raise unsupported("CreateListener", f"ListenerProtocol={request.listener_protocol}")
    if request.proxy_protocol_enabled:
        raise unsupported("CreateListener", "ProxyProtocolEnabled=true")
    port = check_range("ListenerPort", request.listener_port, 1, 65535)
    there = {(one.protocol, one.port) for one in held.listeners_of_nlb(nlb.id)}
    if (request.listener_protocol, port) in there:
        message = f"{nlb.id} listens at {request.listener_protocol} {port} already."
        raise Refusal("ResourceAlreadyExist.Listener", message)
    if len(there) >= world.limits.listeners_per_balancer:
        raise Refusal("QuotaExceeded.ListenersNum", "The quota of listeners is exceeded.")
    group = held.server_group(request.server_group_id)
    _check_group(group, nlb.vpc_id, request.listener_protocol)
    new = NlbListenerRecord(
        id=f"{world.ids.new('lsn')}@{port}",
        serial=world.ids.serial(),
        balancer_id=nlb.id,
        protocol=request.listener_protocol,
        port=port,
        group_id=group.id,
        ready_at=job_end(world),
        idle_s=request.idle_timeout,
        description=request.listener_description,
        tags=check_tags(world, request.tag),
    )
    held.put(new)
    return {"ListenerId": new.id, "JobId": begin_job(world).id}


def _check_group(group: ServerGroupRecord, vpc_id: str, protocol: str) -> None:
    if group.vpc_id != vpc_id:
        raise Refusal("MismatchedParam.VpcId", f"{group.id} is in the VPC {group.vpc_id}.")
    if protocol not in group.protocol.split("_"):
        message = f"{group.id} is for {group.protocol}, not for {protocol}."
        raise Refusal("MismatchedParam.Protocol", message)


def settled_listener(world: World, listener_id: str) -> NlbListenerRecord:
    """Return a listener that no change is under way of. Raises Refusal."""
    listener = world.state.balancing.nlb_listener(listener_id)
    if listener.ready_at > world.now():
        message = f"The status of listener [{listener.id}] is incorrect."
        raise Refusal("IncorrectStatus.listener", message)
    return listener


class UpdateListenerAttribute(Request):
    """The parameters; what is not given stays."""

    listener_id: str
    server_group_id: str = ""
    listener_description: str | None = None
    idle_timeout: int | None = None
    proxy_protocol_enabled: bool = False
    client_token: str = ""


def update_listener(world: World, request: UpdateListenerAttribute) -> Answer:
    """Change a listener."""
    held = world.state.balancing
    listener = settled_listener(world, request.listener_id)
    if request.proxy_protocol_enabled:
        raise unsupported("UpdateListenerAttribute", "ProxyProtocolEnabled=true")
    group = held.server_group(request.server_group_id or listener.group_id)
    _check_group(group, held.nlb(listener.balancer_id).vpc_id, listener.protocol)
    text, idle_s = request.listener_description, request.idle_timeout
    changed = replace(
        listener,
        group_id=group.id,
        description=listener.description if text is None else text,
        idle_s=listener.idle_s if idle_s is None else idle_s,
    )
    return _put(world, changed)


def _put(world: World, changed: NlbListenerRecord) -> Answer:
    world.state.balancing.put(replace(changed, ready_at=job_end(world)))
    return {"JobId": begin_job(world).id}


class OneListener(Request):
    """The parameters of an action about one listener."""

    listener_id: str
    client_token: str = ""


def delete_listener(world: World, request: OneListener) -> Answer:
    """Delete a listener."""
    world.state.balancing.remove(settled_listener(world, request.listener_id))
    return {"JobId": begin_job(world).id}


def start_listener(world: World, request: OneListener) -> Answer:
    """Have a listener forward."""
    return _put(world, replace(settled_listener(world, request.listener_id), is_running=True))


def stop_listener(world: World, request: OneListener) -> Answer:
    """Have a listener forward nothing."""
    return _put(world, replace(settled_listener(world, request.listener_id), is_running=False))


def get_listener(world: World, request: OneListener) -> Answer:
    """Describe one listener."""
    return _described(world, world.state.balancing.nlb_listener(request.listener_id))


class ListListeners(Request):
    """The parameters."""

    listener_ids: tuple[str, ...] = ()
    load_balancer_ids: tuple[str, ...] = ()
    listener_protocol: str = ""
    tag: tuple[Tag, ...] = ()
    max_results: int = 20
    next_token: str = ""


def list_listeners(world: World, request: ListListeners) -> Answer:
    """List listeners."""
    found = [
        one
        for one in world.state.balancing.nlb_listeners.values()
        if not request.listener_ids or one.id in request.listener_ids
        if not request.load_balancer_ids or one.balancer_id in request.load_balancer_ids
        if request.listener_protocol in ("", one.protocol)
        if has_tags(one.tags, request.tag)
    ]
    size = min(request.max_results, MAX_PER_PAGE)
    page, following = page_by_token(found, token=request.next_token, size=size)
    return {
        "Listeners": [_described(world, one) for one in page],
        "NextToken": following,
        "MaxResults": size,
        "TotalCount": len(found),
    }


def _described(world: World, one: NlbListenerRecord) -> dict[str, Any]:
    return {
        "ListenerId": one.id,
        "LoadBalancerId": one.balancer_id,
        "ListenerProtocol": one.protocol,
        "ListenerPort": one.port,
        "ListenerStatus": _status(world, one),
        "ListenerDescription": one.description,
        "ServerGroupId": one.group_id,
        "IdleTimeout": one.idle_s,
        "ProxyProtocolEnabled": False,
        "RegionId": world.place.region_id,
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in one.tags],
    }


def _status(world: World, one: NlbListenerRecord) -> str:
    if one.ready_at > world.now():
        return "Provisioning"
    return "Running" if one.is_running else "Stopped"


class GetListenerHealthStatus(Request):
    """The parameters."""

    listener_id: str


def get_health(world: World, request: GetListenerHealthStatus) -> Answer:
    """Name the servers of a listener that are not healthy, as the real answer does; why not."""
    held = world.state.balancing
    listener = held.nlb_listener(request.listener_id)
    group = held.server_group(listener.group_id)
    infos = {
        "ServerGroupId": group.id,
        "HeathCheckEnabled": group.check.is_on,  # the real answer's spelling
        "NonNormalServers": _not_normal(world, listener, group) if group.check.is_on else [],
    }
    status = {
        "ListenerId": listener.id,
        "ListenerPort": listener.port,
        "ListenerProtocol": listener.protocol,
        "ServerGroupInfos": [infos],
    }
    return {"ListenerHealthStatus": [status], "NextToken": "", "MaxResults": 1, "TotalCount": 1}


def _not_normal(
    world: World, listener: NlbListenerRecord, group: ServerGroupRecord
) -> list[dict[str, Any]]:
    seen = world.state.balancing.health
    found = []
    for server in group.servers:
        addresses = server_addresses(world.state, server)
        words = [seen.of((listener.id, one, server.port)) for one in addresses]
        if addresses and all(words):
            continue
        is_unknown = bool(addresses) and None in words and False not in words
        found.append(
            {
                "ServerId": server.server_id,
                "ServerIp": server.ip or (str(addresses[0]) if addresses else ""),
                "Port": server.port,
                "Status": "Initial" if is_unknown else "Unhealthy",
                "Reason": {"ReasonCode": "" if is_unknown else "CONNECT_TIMEOUT"},
            }
        )
    return found


ACTIONS: Actions = {
    "CreateListener": Action(request=CreateListener, run=create_listener),
    "UpdateListenerAttribute": Action(request=UpdateListenerAttribute, run=update_listener),
    "DeleteListener": Action(request=OneListener, run=delete_listener),
    "StartListener": Action(request=OneListener, run=start_listener),
    "StopListener": Action(request=OneListener, run=stop_listener),
    "GetListenerAttribute": Action(request=OneListener, run=get_listener),
    "ListListeners": Action(request=ListListeners, run=list_listeners),
    "GetListenerHealthStatus": Action(request=GetListenerHealthStatus, run=get_health),
}
