"""How are HTTP and HTTPS listeners asked of CLB? Source: OpenAPI SLB 2014-05-15."""

from __future__ import annotations

from terway.cloud.query import Value
from terway.model.balancer import HealthCheck
from terway.model.http_listener import CookieKind, HttpForwarding, StickySession, TlsTermination


def http_parameters(check: HealthCheck, http: HttpForwarding) -> dict[str, Value]:
    """Return what is said when a listener is made, and when it is changed."""
    return {
        **_check(check),
        **_sticky(http.sticky),
        **(_tls(http.tls) if http.tls is not None else {}),
        "IdleTimeout": http.idle_s,
        "RequestTimeout": http.request_s,
        "XForwardedFor": "on",
        "XForwardedFor_proto": _switch(http.tells_protocol),
        "XForwardedFor_SLBPORT": _switch(http.tells_port),
        "XForwardedFor_ClientSrcPort": _switch(http.tells_client_port),
    }


def redirect_parameters(http: HttpForwarding) -> dict[str, Value]:
    """Return what is said only when a listener is made: where HTTP leads on to."""
    if not http.redirect_port:
        return {}
    return {"ListenerForward": "on", "ForwardPort": http.redirect_port}


def _check(check: HealthCheck) -> dict[str, Value]:
    if not check.is_on:
        return {"HealthCheck": "off"}
    return {
        "HealthCheck": "on",
        "HealthCheckConnectPort": check.port or None,
        "HealthCheckTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
        "HealthCheckDomain": check.domain or None,
        # It is what is asked for without a word, and may not be said.
        "HealthCheckURI": None if check.uri == "/" else check.uri,
        "HealthCheckMethod": check.method,
        "HealthCheckHttpCode": ",".join(check.http_codes),
    }


def _sticky(sticky: StickySession | None) -> dict[str, Value]:
    if sticky is None:
        return {"StickySession": "off"}
    is_insert = sticky.kind is CookieKind.INSERT
    by: dict[str, Value] = (
        {"CookieTimeout": sticky.timeout_s} if is_insert else {"Cookie": sticky.cookie}
    )
    return {"StickySession": "on", "StickySessionType": sticky.kind.value, **by}


def _tls(tls: TlsTermination) -> dict[str, Value]:
    return {
        "ServerCertificateId": tls.certificate_id,
        "TLSCipherPolicy": tls.policy,
        "EnableHttp2": _switch(tls.speaks_http2),
    }


def _switch(is_on: bool) -> str:
    return "on" if is_on else "off"
