"""CLB: make and change TCP and UDP listeners; start, stop and delete all.

Source: OpenAPI SLB 2014-05-15, the actions' own pages. A new listener is stopped. Groups without a
name ("default server group") and master-slave groups are not emulated.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.slb_listener_settings import (
    Settings,
    TcpSettings,
    UdpSettings,
    changed_check,
    changed_listener,
)
from terway.lab.cloud.actions.slb_words import check_range
from terway.lab.cloud.balancer_records import ClbListenerRecord, HealthCheckRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal, invalid, missing
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World

CHECK_DEFAULTS = {
    "tcp": HealthCheckRecord(),
    "udp": HealthCheckRecord(kind="udp", timeout_s=10, interval_s=5),
}


class CreateTcpListener(TcpSettings):
    """The parameters."""

    health_check_interval: int | None = msgspec.field(default=None, name="healthCheckInterval")
    bandwidth: int = -1
    backend_server_port: int = 0
    tag: tuple[Tag, ...] = ()


class CreateUdpListener(UdpSettings):
    """The parameters."""

    health_check_interval: int | None = msgspec.field(default=None, name="healthCheckInterval")
    bandwidth: int = -1
    backend_server_port: int = 0
    tag: tuple[Tag, ...] = ()


def create_tcp(world: World, request: CreateTcpListener) -> Answer:
    """Make a listener, stopped. Raises Refusal when there is one at the port."""
    return _create(world, request, "tcp")


def create_udp(world: World, request: CreateUdpListener) -> Answer:
    """Make a listener, stopped. Raises Refusal when there is one at the port."""
    return _create(world, request, "udp")


def _create(world: World, request: CreateTcpListener | CreateUdpListener, protocol: str) -> Answer:
    new = new_listener(world, request, protocol, tags=request.tag)
    if not request.v_server_group_id:
        raise missing("VServerGroupId")
    new = replace(
        new,
        bandwidth=request.bandwidth,
        backend_port=request.backend_server_port,
        check=changed_check(CHECK_DEFAULTS[protocol], request),
    )
    world.state.balancing.put(changed_listener(world, new, request))
    return {}


def new_listener(
    world: World, request: Settings, protocol: str, *, tags: tuple[Tag, ...]
) -> ClbListenerRecord:
    """Return the beginning of a listener. Raises Refusal when its port is taken, or the quota."""
    held = world.state.balancing
    clb = held.clb(request.load_balancer_id)
    port = check_range("ListenerPort", request.listener_port, 1, 65535)
    there = held.listeners_of_clb(clb.id)
    # TCP, HTTP and HTTPS share their port numbers.
    if taken := [
        one for one in there if one.port == port and (one.protocol == "udp") == (protocol == "udp")
    ]:
        message = f"There is already a {taken[0].protocol} listener at port {port} of {clb.id}."
        raise Refusal("ListenerAlreadyExists", message)
    if len(there) >= world.limits.listeners_per_balancer:
        message = f"{clb.id} has as many listeners as its quota."
        raise Refusal("OperationDenied.ListenerQuotaExceeded", message)
    return ClbListenerRecord(
        serial=world.ids.serial(),
        balancer_id=clb.id,
        protocol=protocol,
        port=port,
        group_id="",
        tags=check_tags(world, tags),
    )


class SetTcpListener(TcpSettings):
    """The parameters; what is not given stays."""

    v_server_group: str = ""  # a switch, "on" wherever there is a group
    bandwidth: int | None = None


class SetUdpListener(UdpSettings):
    """The parameters; what is not given stays."""

    v_server_group: str = ""  # a switch, "on" wherever there is a group
    bandwidth: int | None = None


def set_tcp(world: World, request: SetTcpListener) -> Answer:
    """Change a listener."""
    return _set(world, request, "tcp")


def set_udp(world: World, request: SetUdpListener) -> Answer:
    """Change a listener."""
    return _set(world, request, "udp")


def _set(world: World, settings: Settings, protocol: str) -> Answer:
    held = world.state.balancing
    listener = held.clb_listener(settings.load_balancer_id, protocol, settings.listener_port)
    checked = replace(listener, check=changed_check(listener.check, settings))
    held.put(changed_listener(world, checked, settings))
    return {}


class OneListener(Request):
    """The parameters of an action about one listener. Without a protocol, the port must do."""

    load_balancer_id: str
    listener_port: int
    listener_protocol: str = ""


def find_listener(world: World, request: OneListener) -> ClbListenerRecord:
    """Return the listener that a request names. Raises Refusal."""
    held = world.state.balancing
    if request.listener_protocol:
        protocol = request.listener_protocol.lower()
        return held.clb_listener(request.load_balancer_id, protocol, request.listener_port)
    at_port = [
        one
        for one in held.listeners_of_clb(held.clb(request.load_balancer_id).id)
        if one.port == request.listener_port
    ]
    if len(at_port) > 1:
        raise invalid("ListenerProtocol", "several listeners have this port")
    protocol = at_port[0].protocol if at_port else "tcp"
    return held.clb_listener(request.load_balancer_id, protocol, request.listener_port)


def start(world: World, request: OneListener) -> Answer:
    """Have a listener forward."""
    world.state.balancing.put(replace(find_listener(world, request), is_running=True))
    return {}


def stop(world: World, request: OneListener) -> Answer:
    """Have a listener forward nothing."""
    world.state.balancing.put(replace(find_listener(world, request), is_running=False))
    return {}


def delete(world: World, request: OneListener) -> Answer:
    """Delete a listener."""
    world.state.balancing.remove(find_listener(world, request))
    return {}


ACTIONS: Actions = {
    "CreateLoadBalancerTCPListener": Action(request=CreateTcpListener, run=create_tcp),
    "CreateLoadBalancerUDPListener": Action(request=CreateUdpListener, run=create_udp),
    "SetLoadBalancerTCPListenerAttribute": Action(request=SetTcpListener, run=set_tcp),
    "SetLoadBalancerUDPListenerAttribute": Action(request=SetUdpListener, run=set_udp),
    "StartLoadBalancerListener": Action(request=OneListener, run=start),
    "StopLoadBalancerListener": Action(request=OneListener, run=stop),
    "DeleteLoadBalancerListener": Action(request=OneListener, run=delete),
}
