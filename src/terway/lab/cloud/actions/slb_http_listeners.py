"""CLB: make and change HTTP and HTTPS listeners.

Source: OpenAPI SLB 2014-05-15, the actions' own pages. A new listener is stopped. Where HTTP leads
on to is said when a listener is made, and stays.
"""

from __future__ import annotations

from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.slb_http_settings import (
    HttpSettings,
    HttpsSettings,
    changed_http,
    http_check,
)
from terway.lab.cloud.actions.slb_listener_settings import changed_listener
from terway.lab.cloud.actions.slb_listeners import new_listener
from terway.lab.cloud.actions.slb_words import check_range, parse_on_off
from terway.lab.cloud.balancer_records import HealthCheckRecord
from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.refusal import invalid, missing
from terway.lab.cloud.requests import Tag
from terway.lab.cloud.world import World

_CHECK = HealthCheckRecord(is_on=False, kind="http")


class CreateHttpListener(HttpSettings):
    """The parameters."""

    bandwidth: int = -1
    backend_server_port: int = 0
    listener_forward: str = "off"
    forward_port: int = 443
    tag: tuple[Tag, ...] = ()


class CreateHttpsListener(HttpsSettings):
    """The parameters."""

    bandwidth: int = -1
    backend_server_port: int = 0
    tag: tuple[Tag, ...] = ()


def create_http(world: World, request: CreateHttpListener) -> Answer:
    """Make a listener, stopped. Raises Refusal when there is one at the port."""
    is_redirect = parse_on_off("ListenerForward", request.listener_forward)
    target = check_range("ForwardPort", request.forward_port, 1, 65535) if is_redirect else 0
    listeners = world.state.balancing.clb_listeners
    if target and f"{request.load_balancer_id}/https/{target}" not in listeners:
        raise invalid("ForwardPort", f"there is no HTTPS listener at {target}")
    return _create(world, request, "http", HttpListenerRecord(redirect_port=target))


def create_https(world: World, request: CreateHttpsListener) -> Answer:
    """Make a listener, stopped. Raises Refusal when there is one at the port."""
    return _create(world, request, "https", HttpListenerRecord())


def _create(
    world: World,
    request: CreateHttpListener | CreateHttpsListener,
    protocol: str,
    http: HttpListenerRecord,
) -> Answer:
    new = new_listener(world, request, protocol, tags=request.tag)
    if not http.redirect_port:
        for parameter, said in (
            ("HealthCheck", request.health_check),
            ("StickySession", request.sticky_session),
            ("VServerGroupId", request.v_server_group_id),
        ):
            if not said:
                raise missing(parameter)
    new = replace(
        new,
        bandwidth=request.bandwidth,
        backend_port=request.backend_server_port,
        check=http_check(_CHECK, request),
        http=changed_http(world, http, request),
    )
    world.state.balancing.put(changed_listener(world, new, request))
    return {}


class SetHttpListener(HttpSettings):
    """The parameters; what is not given stays."""

    v_server_group: str = ""  # a switch, "on" wherever there is a group
    bandwidth: int | None = None


class SetHttpsListener(HttpsSettings):
    """The parameters; what is not given stays."""

    v_server_group: str = ""  # a switch, "on" wherever there is a group
    bandwidth: int | None = None


def set_http(world: World, request: SetHttpListener) -> Answer:
    """Change a listener."""
    return _set(world, request, "http")


def set_https(world: World, request: SetHttpsListener) -> Answer:
    """Change a listener."""
    return _set(world, request, "https")


def _set(world: World, request: HttpSettings, protocol: str) -> Answer:
    held = world.state.balancing
    listener = held.clb_listener(request.load_balancer_id, protocol, request.listener_port)
    assert listener.http is not None
    checked = replace(
        listener,
        check=http_check(listener.check, request),
        http=changed_http(world, listener.http, request),
    )
    held.put(changed_listener(world, checked, request))
    return {}


ACTIONS: Actions = {
    "CreateLoadBalancerHTTPListener": Action(request=CreateHttpListener, run=create_http),
    "CreateLoadBalancerHTTPSListener": Action(request=CreateHttpsListener, run=create_https),
    "SetLoadBalancerHTTPListenerAttribute": Action(request=SetHttpListener, run=set_http),
    "SetLoadBalancerHTTPSListenerAttribute": Action(request=SetHttpsListener, run=set_https),
}
