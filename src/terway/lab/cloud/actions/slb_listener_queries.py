"""CLB: describe listeners, and the health of their backends.

Source: OpenAPI SLB 2014-05-15, DescribeLoadBalancer{TCP,UDP,HTTP,HTTPS}ListenerAttribute,
DescribeLoadBalancerListeners and DescribeHealthStatus.
"""

from __future__ import annotations

from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.actions.slb_http_queries import http_settings
from terway.lab.cloud.actions.slb_words import on_off
from terway.lab.cloud.balancer_records import ClbListenerRecord, ServerRecord
from terway.lab.cloud.balancer_view import server_address
from terway.lab.cloud.paging import page_by_token
from terway.lab.cloud.requests import Regional, Request, Tag
from terway.lab.cloud.world import World

MAX_PER_PAGE = 100


class OneListener(Request):
    """The parameters of an action about a listener of a known protocol."""

    load_balancer_id: str
    listener_port: int


def describe_tcp(world: World, request: OneListener) -> Answer:
    """Describe a TCP listener."""
    return _attribute(world, request, "tcp")


def describe_udp(world: World, request: OneListener) -> Answer:
    """Describe a UDP listener."""
    return _attribute(world, request, "udp")


def describe_http(world: World, request: OneListener) -> Answer:
    """Describe an HTTP listener."""
    return _attribute(world, request, "http")


def describe_https(world: World, request: OneListener) -> Answer:
    """Describe an HTTPS listener."""
    return _attribute(world, request, "https")


def _attribute(world: World, request: OneListener, protocol: str) -> Answer:
    held = world.state.balancing
    listener = held.clb_listener(request.load_balancer_id, protocol, request.listener_port)
    return {**_general(listener), **_of_protocol(listener)}


def _general(one: ClbListenerRecord) -> dict[str, Any]:
    return {
        "LoadBalancerId": one.balancer_id,
        "ListenerPort": one.port,
        "BackendServerPort": one.backend_port,
        "Bandwidth": one.bandwidth,
        "Status": "running" if one.is_running else "stopped",
        "Scheduler": one.scheduler,
        "VServerGroupId": one.group_id,
        "Description": one.description,
        "AclStatus": on_off(one.is_acl_on),
        "AclType": one.acl_type,
        "AclId": one.acl_id,
        "AclIds": {"AclId": [one.acl_id] if one.acl_id else []},
    }


def _of_protocol(one: ClbListenerRecord) -> dict[str, Any]:
    if one.http is not None:
        return http_settings(one, one.http)
    check = one.check
    common = {
        "HealthCheck": on_off(check.is_on),
        "HealthCheckConnectPort": check.port,
        "HealthCheckConnectTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
    }
    if one.protocol == "udp":
        return {**common, "HealthCheckReq": check.request, "HealthCheckExp": check.expected}
    return {
        **common,
        "PersistenceTimeout": one.persistence_s,
        "ConnectionDrain": on_off(one.is_drained),
        "ConnectionDrainTimeout": one.drain_s,
        "EstablishedTimeout": one.established_s,
        "HealthCheckType": check.kind,
        "HealthCheckDomain": check.domain,
        "HealthCheckURI": check.uri,
        "HealthCheckMethod": check.method,
        "HealthCheckHttpCode": ",".join(check.http_codes),
    }


class DescribeLoadBalancerListeners(Regional):
    """The parameters."""

    load_balancer_id: tuple[str, ...] = ()
    listener_protocol: str = ""
    listener_port: int | None = None
    description: str = ""
    tag: tuple[Tag, ...] = ()
    max_results: int = 20
    next_token: str = ""


def describe_listeners(world: World, request: DescribeLoadBalancerListeners) -> Answer:
    """List listeners, of some instances or of all."""
    found = [one for one in world.state.balancing.clb_listeners.values() if _matches(one, request)]
    size = min(request.max_results, MAX_PER_PAGE)
    page, following = page_by_token(found, token=request.next_token, size=size)
    return {
        "Listeners": [_listed(one) for one in page],
        "NextToken": following,
        "MaxResults": size,
        "TotalCount": len(found),
    }


def _matches(one: ClbListenerRecord, request: DescribeLoadBalancerListeners) -> bool:
    equal = (
        (request.listener_protocol.lower(), one.protocol),
        (request.listener_port, one.port),
        (request.description, one.description),
    )
    named = not request.load_balancer_id or one.balancer_id in request.load_balancer_id
    same = all(not wanted or wanted == value for wanted, value in equal)
    return named and same and has_tags(one.tags, request.tag)


def _listed(one: ClbListenerRecord) -> dict[str, Any]:
    return {
        **_general(one),
        "ListenerProtocol": one.protocol,
        f"{one.protocol.upper()}ListenerConfig": _of_protocol(one),
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in one.tags],
    }


class DescribeHealthStatus(Request):
    """The parameters."""

    load_balancer_id: str
    listener_port: int | None = None
    listener_protocol: str = ""


def describe_health(world: World, request: DescribeHealthStatus) -> Answer:
    """Say of each backend of each listener whether it is healthy."""
    held = world.state.balancing
    listeners = [
        one
        for one in held.listeners_of_clb(held.clb(request.load_balancer_id).id)
        if request.listener_port in (None, one.port)
        if request.listener_protocol.lower() in ("", one.protocol)
    ]
    found = [
        _health(world, listener, server)
        for listener in listeners
        if listener.group_id in held.vserver_groups
        for server in held.vserver_groups[listener.group_id].servers
    ]
    return {"BackendServers": {"BackendServer": found}}


def _health(world: World, listener: ClbListenerRecord, server: ServerRecord) -> dict[str, Any]:
    address = server_address(world.state, server, version=_version(world, listener))
    return {
        "ServerId": server.server_id,
        "ServerIp": str(address or server.ip),
        "Port": server.port,
        "ListenerPort": listener.port,
        "Protocol": listener.protocol,
        "ServerHealthStatus": _word(world, listener, server),
    }


def _version(world: World, listener: ClbListenerRecord) -> int:
    return world.state.balancing.clbs[listener.balancer_id].address.version


def _word(world: World, listener: ClbListenerRecord, server: ServerRecord) -> str:
    address = server_address(world.state, server, version=_version(world, listener))
    if address is None or not listener.is_running or not listener.check.is_on:
        return "unavailable"
    seen = world.state.balancing.health.of((listener.id, address, server.port))
    return "unavailable" if seen is None else "normal" if seen else "abnormal"


ACTIONS: Actions = {
    "DescribeLoadBalancerTCPListenerAttribute": Action(request=OneListener, run=describe_tcp),
    "DescribeLoadBalancerUDPListenerAttribute": Action(request=OneListener, run=describe_udp),
    "DescribeLoadBalancerHTTPListenerAttribute": Action(request=OneListener, run=describe_http),
    "DescribeLoadBalancerHTTPSListenerAttribute": Action(request=OneListener, run=describe_https),
    "DescribeLoadBalancerListeners": Action(
        request=DescribeLoadBalancerListeners, run=describe_listeners
    ),
    "DescribeHealthStatus": Action(request=DescribeHealthStatus, run=describe_health),
}
