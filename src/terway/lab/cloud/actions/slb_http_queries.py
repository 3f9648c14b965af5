"""CLB: what do descriptions of HTTP and HTTPS listeners say?

Source: OpenAPI SLB 2014-05-15, DescribeLoadBalancerHTTP(S)ListenerAttribute.
"""

from __future__ import annotations

from typing import Any

from terway.lab.cloud.actions.slb_words import on_off
from terway.lab.cloud.balancer_records import ClbListenerRecord
from terway.lab.cloud.http_records import NO_PORT, HttpListenerRecord


def http_settings(one: ClbListenerRecord, http: HttpListenerRecord) -> dict[str, Any]:
    """Return what is HTTP's own."""
    check = one.check
    own = _tls(http) if one.protocol == "https" else _redirect(http)
    return {
        "HealthCheck": on_off(check.is_on),
        "HealthCheckConnectPort": check.port or NO_PORT,
        "HealthCheckTimeout": check.timeout_s,
        "HealthCheckInterval": check.interval_s,
        "HealthyThreshold": check.healthy_after,
        "UnhealthyThreshold": check.unhealthy_after,
        "HealthCheckDomain": check.domain or "$_ip",
        "HealthCheckURI": check.uri,
        "HealthCheckMethod": check.method,
        "HealthCheckHttpCode": ",".join(check.http_codes),
        "StickySession": on_off(bool(http.sticky_kind)),
        "StickySessionType": http.sticky_kind,
        "Cookie": http.cookie,
        "CookieTimeout": http.cookie_timeout_s,
        "IdleTimeout": http.idle_s,
        "RequestTimeout": http.request_s,
        "XForwardedFor": on_off(http.tells_client),
        "XForwardedFor_proto": on_off(http.tells_protocol),
        "XForwardedFor_SLBPORT": on_off(http.tells_port),
        "XForwardedFor_ClientSrcPort": on_off(http.tells_client_port),
        "XForwardedFor_SLBID": on_off(http.tells_id),
        "XForwardedFor_SLBIP": on_off(http.tells_address),
        **own,
    }


def _redirect(http: HttpListenerRecord) -> dict[str, Any]:
    if not http.redirect_port:
        return {"ListenerForward": "off"}
    return {"ListenerForward": "on", "ForwardPort": http.redirect_port}


def _tls(http: HttpListenerRecord) -> dict[str, Any]:
    return {
        "ServerCertificateId": http.certificate_id,
        "TLSCipherPolicy": http.tls_policy,
        "EnableHttp2": on_off(http.speaks_http2),
    }
