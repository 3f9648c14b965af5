"""CLB: which settings has an HTTP or HTTPS listener, and what does a request make of them?

Source: OpenAPI SLB 2014-05-15, Create- and SetLoadBalancerHTTP(S)Listener(Attribute): ranges of
values. Certificates of clients, compression and rules of forwarding are not emulated.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from terway.lab.cloud.actions.slb_listener_settings import (
    Settings,
    number,
    parse_codes,
    switch,
    with_counts,
)
from terway.lab.cloud.actions.slb_words import check_range
from terway.lab.cloud.balancer_records import HealthCheckRecord
from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.refusal import invalid, missing
from terway.lab.cloud.world import World
from terway.model.http_listener import (
    LONGEST_COOKIE_S,
    LONGEST_IDLE_S,
    LONGEST_REQUEST_S,
    TLS_POLICIES,
)


class HttpSettings(Settings):
    """What HTTP and HTTPS listeners have besides. None stays as it is."""

    health_check: str | None = None
    health_check_timeout: int | None = None
    health_check_domain: str | None = None
    health_check_uri: str | None = msgspec.field(default=None, name="HealthCheckURI")
    health_check_method: str | None = None
    health_check_http_code: str | None = None
    sticky_session: str | None = None
    sticky_session_type: str | None = None
    cookie: str | None = None
    cookie_timeout: int | None = None
    idle_timeout: int | None = None
    request_timeout: int | None = None
    tells_client: str | None = msgspec.field(default=None, name="XForwardedFor")
    tells_protocol: str | None = msgspec.field(default=None, name="XForwardedFor_proto")
    tells_port: str | None = msgspec.field(default=None, name="XForwardedFor_SLBPORT")
    tells_client_port: str | None = msgspec.field(default=None, name="XForwardedFor_ClientSrcPort")
    tells_id: str | None = msgspec.field(default=None, name="XForwardedFor_SLBID")
    tells_address: str | None = msgspec.field(default=None, name="XForwardedFor_SLBIP")


class HttpsSettings(HttpSettings):
    """What HTTPS listeners have besides."""

    server_certificate_id: str | None = None
    tls_cipher_policy: str | None = msgspec.field(default=None, name="TLSCipherPolicy")
    enable_http2: str | None = None


def http_check(check: HealthCheckRecord, said: HttpSettings) -> HealthCheckRecord:
    """Return a health check with what a request says. Raises Refusal."""
    if said.health_check_method not in (None, "head", "get"):
        raise invalid("HealthCheckMethod", "it must be head or get")
    uri = said.health_check_uri
    if uri is not None and not (uri.startswith("/") and 1 < len(uri) <= 80):
        raise invalid("HealthCheckURI", "it must begin with / and have 2 to 80 characters")
    return replace(
        with_counts(check, said),
        is_on=switch("HealthCheck", said.health_check, check.is_on),
        timeout_s=number("HealthCheckTimeout", said.health_check_timeout, check.timeout_s, 1, 300),
        domain=check.domain if said.health_check_domain is None else said.health_check_domain,
        uri=uri or check.uri,
        method=said.health_check_method or check.method,
        http_codes=parse_codes(said.health_check_http_code, check.http_codes),
    )


def changed_http(world: World, http: HttpListenerRecord, said: HttpSettings) -> HttpListenerRecord:
    """Return what is HTTP's own with what a request says. Raises Refusal."""
    changed = replace(
        _with_cookie(http, said),
        idle_s=number("IdleTimeout", said.idle_timeout, http.idle_s, 1, LONGEST_IDLE_S),
        request_s=number(
            "RequestTimeout", said.request_timeout, http.request_s, 1, LONGEST_REQUEST_S
        ),
        tells_client=switch("XForwardedFor", said.tells_client, http.tells_client),
        tells_protocol=switch("XForwardedFor_proto", said.tells_protocol, http.tells_protocol),
        tells_port=switch("XForwardedFor_SLBPORT", said.tells_port, http.tells_port),
        tells_client_port=switch(
            "XForwardedFor_ClientSrcPort", said.tells_client_port, http.tells_client_port
        ),
        tells_id=switch("XForwardedFor_SLBID", said.tells_id, http.tells_id),
        tells_address=switch("XForwardedFor_SLBIP", said.tells_address, http.tells_address),
    )
    return _with_tls(world, changed, said) if isinstance(said, HttpsSettings) else changed


def _with_cookie(http: HttpListenerRecord, said: HttpSettings) -> HttpListenerRecord:
    if not switch("StickySession", said.sticky_session, bool(http.sticky_kind)):
        return replace(http, sticky_kind="", cookie="", cookie_timeout_s=0)
    kind = said.sticky_session_type or http.sticky_kind
    if not kind:
        raise missing("StickySessionType")
    if kind not in ("insert", "server"):
        raise invalid("StickySessionType", "it must be insert or server")
    timeout_s = said.cookie_timeout or http.cookie_timeout_s
    cookie = said.cookie or http.cookie
    if kind == "insert":
        if not timeout_s:
            raise missing("CookieTimeout")
        timeout_s = check_range("CookieTimeout", timeout_s, 1, LONGEST_COOKIE_S)
    elif not cookie:
        raise missing("Cookie")
    return replace(http, sticky_kind=kind, cookie=cookie, cookie_timeout_s=timeout_s)


def _with_tls(world: World, http: HttpListenerRecord, said: HttpsSettings) -> HttpListenerRecord:
    certificate_id = said.server_certificate_id or http.certificate_id
    if not certificate_id:
        raise missing("ServerCertificateId")
    world.state.balancing.certificate(certificate_id)
    if said.tls_cipher_policy not in (None, *TLS_POLICIES):
        raise invalid("TLSCipherPolicy", f"it must be one of {', '.join(TLS_POLICIES)}")
    return replace(
        http,
        certificate_id=certificate_id,
        tls_policy=said.tls_cipher_policy or http.tls_policy,
        speaks_http2=switch("EnableHttp2", said.enable_http2, http.speaks_http2),
    )
