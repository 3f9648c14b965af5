"""What do CLB's answers say of listeners, and which model values are they?

What a listener does not use says nothing: a health check that is off, how a cookie would be kept.
Source: OpenAPI SLB 2014-05-15, DescribeLoadBalancerListeners.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from terway.model.balancer import (
    AccessListId,
    AccessRule,
    CheckKind,
    Forwarding,
    HealthCheck,
    Listener,
    ListenerId,
    ListenerProtocol,
    ListenerWish,
    LoadBalancerId,
    ServerGroupId,
)
from terway.model.http_listener import (
    CookieKind,
    HttpForwarding,
    StickySession,
    TlsTermination,
)

_ON = "on"
_OWN_ADDRESS = "$_ip"  # as the domain of a health check: the backend's


class _CheckConfig(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What is said of health checks at every protocol."""

    health_check_connect_port: int = 0
    health_check_interval: int = 2
    healthy_threshold: int = 3
    unhealthy_threshold: int = 3
    health_check_domain: str = ""
    health_check_uri: str = msgspec.field(default="/", name="HealthCheckURI")
    health_check_method: str = "head"
    health_check_http_code: str = "http_2xx"


class ClbListenerConfig(_CheckConfig, frozen=True, gc=False, rename="pascal"):
    """What is a TCP or UDP listener's own."""

    health_check: str = _ON
    health_check_type: str = "tcp"
    health_check_connect_timeout: int = 5
    persistence_timeout: int = 0
    connection_drain: str = "off"
    connection_drain_timeout: int = 0


class ClbHttpConfig(_CheckConfig, frozen=True, gc=False, rename="pascal"):
    """What is an HTTP or HTTPS listener's own."""

    health_check: str = "off"
    health_check_timeout: int = 5
    sticky_session: str = "off"
    sticky_session_type: str = ""
    cookie: str = ""
    cookie_timeout: int = 0
    idle_timeout: int = 15
    request_timeout: int = 60
    tells_protocol: str = msgspec.field(default="off", name="XForwardedFor_proto")
    tells_port: str = msgspec.field(default="off", name="XForwardedFor_SLBPORT")
    tells_client_port: str = msgspec.field(default="off", name="XForwardedFor_ClientSrcPort")
    listener_forward: str = "off"
    forward_port: int = 0
    server_certificate_id: str = ""
    enable_http2: str = _ON
    tls_cipher_policy: str = msgspec.field(default="", name="TLSCipherPolicy")


class ClbListener(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A listener in the answer of DescribeLoadBalancerListeners."""

    load_balancer_id: str
    listener_port: int
    listener_protocol: str
    status: str = "running"
    scheduler: str = "wrr"
    v_server_group_id: str = ""
    description: str = ""
    acl_status: str = "off"
    acl_type: str = ""
    acl_id: str = ""
    tcp: ClbListenerConfig | None = msgspec.field(default=None, name="TCPListenerConfig")
    udp: ClbListenerConfig | None = msgspec.field(default=None, name="UDPListenerConfig")
    http: ClbHttpConfig | None = msgspec.field(default=None, name="HTTPListenerConfig")
    https: ClbHttpConfig | None = msgspec.field(default=None, name="HTTPSListenerConfig")


class ClbListeners(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeLoadBalancerListeners."""

    listeners: tuple[ClbListener, ...] = ()
    next_token: str = ""


def parse_clb_listener(said: ClbListener) -> Listener:
    """Return the listener that CLB described."""
    access = AccessRule(acl_id=AccessListId(said.acl_id), is_allowed=said.acl_type == "white")
    protocol = ListenerProtocol(said.listener_protocol.upper())
    web = said.https if protocol is ListenerProtocol.HTTPS else said.http
    wish = ListenerWish(
        protocol=protocol,
        port=said.listener_port,
        group_id=ServerGroupId(said.v_server_group_id),
        description=said.description,
        forwarding=_forwarding(said, protocol),
        access=access if said.acl_status == _ON else None,
        http=_http(web or ClbHttpConfig(), protocol) if protocol.is_http else None,
    )
    return Listener(
        id=ListenerId(f"{said.load_balancer_id}/{wish.protocol.value}/{wish.port}"),
        balancer_id=LoadBalancerId(said.load_balancer_id),
        is_running=said.status == "running",
        wish=wish,
    )


def _forwarding(said: ClbListener, protocol: ListenerProtocol) -> Forwarding:
    if protocol.is_http:
        return Forwarding(
            scheduler=said.scheduler, check=_http_check(said.https or said.http or ClbHttpConfig())
        )
    config = said.tcp or said.udp or ClbListenerConfig()
    kind = CheckKind.UDP if said.udp is not None else CheckKind(config.health_check_type)
    check = _check(config, kind, timeout_s=config.health_check_connect_timeout)
    return Forwarding(
        scheduler=said.scheduler,
        drain_s=config.connection_drain_timeout if config.connection_drain == _ON else None,
        persistence_s=config.persistence_timeout,
        check=replace(check, is_on=config.health_check == _ON),
    )


def _http_check(config: ClbHttpConfig) -> HealthCheck:
    if config.health_check != _ON:
        return HealthCheck(is_on=False, kind=CheckKind.HTTP)
    return _check(config, CheckKind.HTTP, timeout_s=config.health_check_timeout)


def _check(config: _CheckConfig, kind: CheckKind, *, timeout_s: int) -> HealthCheck:
    domain = config.health_check_domain
    return HealthCheck(
        kind=kind,
        # For the backend's own port CLB says a negative number.
        port=max(config.health_check_connect_port, 0),
        timeout_s=timeout_s,
        interval_s=config.health_check_interval,
        healthy_after=config.healthy_threshold,
        unhealthy_after=config.unhealthy_threshold,
        domain="" if domain == _OWN_ADDRESS else domain,
        uri=config.health_check_uri or "/",
        method=config.health_check_method or "head",
        http_codes=tuple(config.health_check_http_code.split(",")),
    )


def _http(config: ClbHttpConfig, protocol: ListenerProtocol) -> HttpForwarding:
    if config.listener_forward == _ON:
        return HttpForwarding(redirect_port=config.forward_port)
    tls = TlsTermination(
        certificate_id=config.server_certificate_id,
        policy=config.tls_cipher_policy,
        speaks_http2=config.enable_http2 == _ON,
    )
    return HttpForwarding(
        sticky=_sticky(config) if config.sticky_session == _ON else None,
        idle_s=config.idle_timeout,
        request_s=config.request_timeout,
        tells_protocol=config.tells_protocol == _ON,
        tells_port=config.tells_port == _ON,
        tells_client_port=config.tells_client_port == _ON,
        tls=tls if protocol is ListenerProtocol.HTTPS else None,
    )


def _sticky(config: ClbHttpConfig) -> StickySession:
    kind = CookieKind(config.sticky_session_type)
    is_insert = kind is CookieKind.INSERT
    return StickySession(
        kind=kind,
        timeout_s=config.cookie_timeout if is_insert else 0,
        cookie="" if is_insert else config.cookie,
    )
