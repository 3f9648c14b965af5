"""CLB: which settings has a listener, and what does a request make of them?

Source: OpenAPI SLB 2014-05-15, Create- and SetLoadBalancer{TCP,UDP}Listener(Attribute): ranges of
values. The interval is spelt healthCheckInterval when a listener is made, in upper case later.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from terway.lab.cloud.actions.slb_words import check_range, parse_on_off
from terway.lab.cloud.balancer_records import ClbListenerRecord, HealthCheckRecord
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.requests import Request
from terway.lab.cloud.world import World

SCHEDULERS = {
    "tcp": ("wrr", "rr", "wlc", "sch", "tch"),
    "udp": ("wrr", "rr", "wlc", "sch", "tch", "qch"),
    "http": ("wrr", "rr"),
    "https": ("wrr", "rr"),
}
CODES = ("http_2xx", "http_3xx", "http_4xx", "http_5xx")
LONGEST_DRAIN_S = 900


class Settings(Request):
    """What all protocols have. None stays as it is."""

    load_balancer_id: str
    listener_port: int
    v_server_group_id: str = ""
    scheduler: str | None = None
    description: str | None = None
    acl_id: str | None = None
    acl_type: str | None = None
    acl_status: str | None = None
    health_check_connect_port: int | None = None
    health_check_interval: int | None = None
    healthy_threshold: int | None = None
    unhealthy_threshold: int | None = None


class TransportSettings(Settings):
    """What TCP and UDP listeners have besides."""

    health_check_switch: str | None = None
    health_check_connect_timeout: int | None = None


class TcpSettings(TransportSettings):
    """What a TCP listener has besides."""

    persistence_timeout: int | None = None
    established_timeout: int | None = None
    connection_drain: str | None = None
    connection_drain_timeout: int | None = None
    health_check_type: str | None = None
    health_check_domain: str | None = None
    health_check_uri: str | None = msgspec.field(default=None, name="HealthCheckURI")
    health_check_http_code: str | None = None


class UdpSettings(TransportSettings):
    """What a UDP listener has besides. Its drain is the console's alone."""

    request_text: str | None = msgspec.field(default=None, name="healthCheckReq")
    expected_text: str | None = msgspec.field(default=None, name="healthCheckExp")


def changed_check(check: HealthCheckRecord, said: Settings) -> HealthCheckRecord:
    """Return a health check with what a request says. Raises Refusal."""
    changed = with_counts(check, said)
    if isinstance(said, TransportSettings):
        timeout_s = said.health_check_connect_timeout
        changed = replace(
            changed,
            is_on=switch("HealthCheckSwitch", said.health_check_switch, check.is_on),
            timeout_s=number("HealthCheckConnectTimeout", timeout_s, check.timeout_s, 1, 300),
        )
    match said:
        case TcpSettings():
            return _changed_tcp(changed, said)
        case UdpSettings():
            return replace(
                changed,
                request=said.request_text or changed.request,
                expected=said.expected_text or changed.expected,
            )
        case _:
            return changed


def with_counts(check: HealthCheckRecord, said: Settings) -> HealthCheckRecord:
    """Return a health check with what requests of all protocols say of it. Raises Refusal."""
    return replace(
        check,
        port=number("HealthCheckConnectPort", said.health_check_connect_port, check.port, 0, 65535),
        interval_s=number(
            "HealthCheckInterval", said.health_check_interval, check.interval_s, 1, 50
        ),
        healthy_after=number(
            "HealthyThreshold", said.healthy_threshold, check.healthy_after, 2, 10
        ),
        unhealthy_after=number(
            "UnhealthyThreshold", said.unhealthy_threshold, check.unhealthy_after, 2, 10
        ),
    )


def parse_codes(text: str | None, held: tuple[str, ...]) -> tuple[str, ...]:
    """Return a HealthCheckHttpCode. Raises Refusal."""
    codes = tuple(text.split(",")) if text else held
    if unknown := next((one for one in codes if one not in CODES), ""):
        raise invalid("HealthCheckHttpCode", f"{unknown} is none of {', '.join(CODES)}")
    return codes


def _changed_tcp(check: HealthCheckRecord, said: TcpSettings) -> HealthCheckRecord:
    if said.health_check_type not in (None, "tcp", "http"):
        raise invalid("HealthCheckType", "it must be tcp or http")
    return replace(
        check,
        kind=said.health_check_type or check.kind,
        domain=check.domain if said.health_check_domain is None else said.health_check_domain,
        uri=said.health_check_uri or check.uri,
        http_codes=parse_codes(said.health_check_http_code, check.http_codes),
    )


def changed_listener(
    world: World, listener: ClbListenerRecord, said: Settings
) -> ClbListenerRecord:
    """Return a listener with what a request says, its health check apart. Raises Refusal."""
    if said.scheduler not in (None, *SCHEDULERS[listener.protocol]):
        raise invalid("Scheduler", f"it must be one of {', '.join(SCHEDULERS[listener.protocol])}")
    changed = replace(
        listener,
        group_id=_group(world, listener, said.v_server_group_id),
        scheduler=said.scheduler or listener.scheduler,
        description=listener.description if said.description is None else said.description,
        bandwidth=_bandwidth(listener, said),
    )
    changed = _with_acl(world, changed, said)
    return _with_times(changed, said) if isinstance(said, TcpSettings) else changed


def _bandwidth(listener: ClbListenerRecord, said: Settings) -> int:
    wanted: int | None = getattr(said, "bandwidth", None)
    return listener.bandwidth if wanted is None else check_range("Bandwidth", wanted, -1, 5120)


def _group(world: World, listener: ClbListenerRecord, group_id: str) -> str:
    if not group_id:
        return listener.group_id
    group = world.state.balancing.vserver_group(group_id)
    if group.balancer_id != listener.balancer_id:
        message = f"The vServer group {group_id} belongs to {group.balancer_id}."
        raise Refusal("InvalidParameter", message)
    return group.id


def _with_acl(world: World, listener: ClbListenerRecord, said: Settings) -> ClbListenerRecord:
    is_on = switch("AclStatus", said.acl_status, listener.is_acl_on)
    acl_id, acl_type = said.acl_id or listener.acl_id, said.acl_type or listener.acl_type
    if is_on:
        if not acl_id or acl_type not in ("white", "black"):
            raise invalid("AclId", "an AclStatus of on needs AclId, and AclType white or black")
        world.state.balancing.acl(acl_id)
    return replace(listener, is_acl_on=is_on, acl_id=acl_id, acl_type=acl_type)


def _with_times(listener: ClbListenerRecord, said: TcpSettings) -> ClbListenerRecord:
    is_drained = switch("ConnectionDrain", said.connection_drain, listener.is_drained)
    drain_s = said.connection_drain_timeout or listener.drain_s
    if is_drained:
        check_range("ConnectionDrainTimeout", drain_s, 10, LONGEST_DRAIN_S)
    return replace(
        listener,
        is_drained=is_drained,
        drain_s=drain_s,
        persistence_s=number(
            "PersistenceTimeout", said.persistence_timeout, listener.persistence_s, 0, 3600
        ),
        established_s=number(
            "EstablishedTimeout", said.established_timeout, listener.established_s, 10, 900
        ),
    )


def switch(parameter: str, said: str | None, held: bool) -> bool:
    """Return a switch that may not be said. Raises Refusal."""
    return held if said is None else parse_on_off(parameter, said)


def number(parameter: str, said: int | None, held: int, low: int, high: int) -> int:
    """Return a number that may not be said. Raises Refusal."""
    return held if said is None else check_range(parameter, said, low, high)
