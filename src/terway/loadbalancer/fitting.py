"""Which settings does the listener of one port have? Those that its protocol knows."""

from __future__ import annotations

from dataclasses import replace

from terway.loadbalancer.said import PREFIXES
from terway.loadbalancer.values import Service
from terway.loadbalancer.web_annotations import PROTOCOL_PORT, WebSettings
from terway.model.balancer import CheckKind, Forwarding, HealthCheck, ListenerProtocol
from terway.model.errors import UsageError
from terway.model.http_listener import HttpForwarding

_UNCHECKED = HealthCheck(is_on=False, kind=CheckKind.HTTP)


def check_protocols(service: Service, web: WebSettings) -> None:
    """Raise UsageError for the first protocol that is named of a port the Service has not."""
    places = {(one.protocol, one.port) for one in service.ports}
    for protocol, port in web.protocols:
        if (protocol.transport, port) not in places:
            key = PREFIXES[0] + PROTOCOL_PORT
            raise UsageError(
                f"annotation {key}: {protocol.value.lower()}:{port}: the Service has no port "
                f"{port} of {protocol.transport.value}: correct the annotation, or add the port",
                field=key,
            )


def fit_forwarding(
    forwarding: Forwarding, protocol: ListenerProtocol, web: WebSettings, port: int
) -> Forwarding:
    """Return settings that listeners of the protocol can have."""
    match protocol:
        case ListenerProtocol.TCP:
            return forwarding
        case ListenerProtocol.UDP:
            check = replace(forwarding.check, kind=CheckKind.UDP)
            return replace(forwarding, check=check, persistence_s=0)
        case ListenerProtocol.HTTP | ListenerProtocol.HTTPS:
            is_checked = web.is_checked and port not in dict(web.redirects)
            asked = replace(forwarding.check, is_on=True, kind=CheckKind.HTTP)
            check = replace(asked, timeout_s=web.check_timeout_s) if is_checked else _UNCHECKED
            return Forwarding(scheduler=forwarding.scheduler, check=check)


def fit_http(protocol: ListenerProtocol, web: WebSettings, port: int) -> HttpForwarding | None:
    """Return how requests are passed on at a port; None where it is not of HTTP."""
    match protocol:
        case ListenerProtocol.HTTPS:
            return replace(web.http, tls=web.tls)
        case ListenerProtocol.HTTP:
            target = dict(web.redirects).get(port)
            return HttpForwarding(redirect_port=target) if target is not None else web.http
        case _:
            return None
