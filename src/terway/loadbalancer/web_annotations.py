"""What do the annotations of a Service say of HTTP and HTTPS?

    protocol-port: "https:443,http:80"     which ports of the Service are of HTTP
    cert-id, forward-port, sticky-session, cookie, idle-timeout, …

What is said of a protocol that no port has is refused, as all that would have no effect.
Source: product documentation, "Add annotations to the YAML file of a Service to configure CLB
instances", and OpenAPI SLB 2014-05-15 for ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from terway.loadbalancer.said import Said
from terway.model.balancer import ListenerProtocol, Place
from terway.model.http_listener import (
    LONGEST_COOKIE_S,
    LONGEST_IDLE_S,
    LONGEST_REQUEST_S,
    TLS_POLICIES,
    CookieKind,
    HttpForwarding,
    StickySession,
    TlsTermination,
)

PROTOCOL_PORT = "protocol-port"
OF_HTTPS = ("cert-id", "http2-enabled", "tls-cipher-policy")
OF_HTTP = (
    "cookie",
    "cookie-timeout",
    "forward-port",
    "health-check-timeout",
    "idle-timeout",
    "request-timeout",
    "sticky-session",
    "sticky-session-type",
    "xforwardedfor-clientsrcport",
    "xforwardedfor-proto",
    "xforwardedfor-slbport",
)
_SCHEDULERS = ("wrr", "rr")
_NEEDS = "has no effect: no port is of {0}; name one by protocol-port ({1}), or take it out"
_COOKIE = re.compile(r"(?!\$)[!-+\--:<>-~]{1,200}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """What is asked for of ports of HTTP and HTTPS, and which those are.

    `protocols` has each port that is named, those that stay TCP or UDP too. `redirects` leads from
    ports of HTTP to others. Health checks are off there, other than at TCP, unless asked for.
    """

    protocols: tuple[tuple[ListenerProtocol, int], ...] = ()
    http: HttpForwarding = field(default_factory=HttpForwarding)
    tls: TlsTermination | None = None
    redirects: tuple[tuple[int, int], ...] = ()
    is_checked: bool = False
    check_timeout_s: int = 5  # 1 to 300

    def protocol_at(self, place: Place) -> ListenerProtocol:
        """Return the listener's protocol at a port of the Service."""
        found = (one for one, port in self.protocols if (one.transport, port) == place)
        return next(found, place[0])


def parse_web(said: Said) -> WebSettings:
    """Return what is asked for; what is wrong, or without effect, is refused at `said`."""
    protocols = tuple(_protocols(said))
    there = {protocol for protocol, _ in protocols}
    if not any(one.is_http for one in there):
        said.fault(OF_HTTP, _NEEDS.format("HTTP", "http:80"))
    elif (scheduler := said.text("scheduler").lower()) and scheduler not in _SCHEDULERS:
        said.fault(
            ("scheduler",),
            "is not for HTTP: with http or https in protocol-port it is wrr or rr",
        )
    return WebSettings(
        protocols=protocols,
        http=HttpForwarding(
            sticky=_sticky(said),
            idle_s=said.number("idle-timeout", 1, LONGEST_IDLE_S) or HttpForwarding().idle_s,
            request_s=said.number("request-timeout", 1, LONGEST_REQUEST_S)
            or HttpForwarding().request_s,
            tells_protocol=said.flag("xforwardedfor-proto", default=False),
            tells_port=said.flag("xforwardedfor-slbport", default=False),
            tells_client_port=said.flag("xforwardedfor-clientsrcport", default=False),
        ),
        tls=_tls(said, protocols, has_https=ListenerProtocol.HTTPS in there),
        redirects=tuple(_redirects(said, protocols)),
        is_checked=said.flag("health-check-flag", default=False) and any(o.is_http for o in there),
        check_timeout_s=said.number("health-check-timeout", 1, 300) or 5,
    )


def _protocols(said: Said) -> Iterator[tuple[ListenerProtocol, int]]:
    """Yield ``https:443,http:80``; of two words about one place, the later is refused."""
    seen: set[Place] = set()
    for word in said.words(PROTOCOL_PORT):
        name, _, number = word.partition(":")
        protocol = ListenerProtocol.__members__.get(name.strip().upper())
        port = _port(number)
        if protocol is None or port is None:
            said.fault(
                (PROTOCOL_PORT,),
                f"has {word!r}: write tcp, udp, http or https and a port, such as https:443",
            )
        elif (protocol.transport, port) in seen:
            said.fault((PROTOCOL_PORT,), f"names {port} twice: leave one")
        else:
            seen.add((protocol.transport, port))
            yield protocol, port


def _port(text: str) -> int | None:
    text = text.strip()
    return int(text) if _PORT.fullmatch(text) and 0 < int(text) < 65536 else None


def _tls(
    said: Said, protocols: tuple[tuple[ListenerProtocol, int], ...], *, has_https: bool
) -> TlsTermination | None:
    if not has_https:
        said.fault(OF_HTTPS, _NEEDS.format("HTTPS", "https:443"))
    certificate_id = said.text("cert-id")
    if has_https and not certificate_id:
        ports = ", ".join(str(port) for one, port in protocols if one is ListenerProtocol.HTTPS)
        said.fault(
            (PROTOCOL_PORT,),
            f"has https at {ports}, which needs a certificate: upload one to the load balancers' "
            "certificates and name its id by cert-id, or make it http",
        )
    found = TlsTermination(
        certificate_id=certificate_id,
        policy=said.choice("tls-cipher-policy", TLS_POLICIES, TLS_POLICIES[0]),
        speaks_http2=said.flag("http2-enabled", default=True),
    )
    return found if has_https else None


def _sticky(said: Said) -> StickySession | None:
    is_on = said.flag("sticky-session", default=False)
    kinds = tuple(one.value for one in CookieKind)
    word = said.choice("sticky-session-type", kinds, "")
    timeout_s = said.number("cookie-timeout", 1, LONGEST_COOKIE_S)
    cookie = said.text("cookie")
    if cookie and not _COOKIE.fullmatch(cookie):
        said.fault(
            ("cookie",), "is no name of a cookie: 1 to 200 ASCII signs, no blank , ; =, no $ first"
        )
    if not is_on:
        return None
    if not word:
        said.fault(("sticky-session",), "needs sticky-session-type: insert, or server")
        return None
    kind = CookieKind(word)
    is_insert = kind is CookieKind.INSERT
    if not (timeout_s if is_insert else cookie):
        need = "cookie-timeout, 1 to 86400 seconds" if is_insert else "cookie, the name of one"
        said.fault(("sticky-session-type",), f"needs {need}")
    return StickySession(
        kind=kind,
        timeout_s=(timeout_s or 0) if is_insert else 0,
        cookie="" if is_insert else cookie,
    )


def _redirects(
    said: Said, protocols: tuple[tuple[ListenerProtocol, int], ...]
) -> Iterator[tuple[int, int]]:
    """Yield ``80:443``: from a port of HTTP to one of HTTPS.

    A listener that leads on is deleted and made: what the cloud would refuse is found out before.
    At an instance that was there before, others may have the port that it leads to.
    """
    plain = {port for protocol, port in protocols if protocol is ListenerProtocol.HTTP}
    ended = {port for protocol, port in protocols if protocol is ListenerProtocol.HTTPS}
    seen: set[int] = set()
    for word in said.words("forward-port"):
        left, _, right = word.partition(":")
        source, target = _port(left), _port(right)
        if source is None or target is None or source == target:
            said.fault(("forward-port",), f"has {word!r}: write two ports, such as 80:443")
        elif source not in plain:
            said.fault(
                ("forward-port",), f"leads on from {source}: add http:{source} to protocol-port"
            )
        elif target not in ended and not said.text("id"):
            said.fault(
                ("forward-port",), f"leads on to {target}: add https:{target} to protocol-port"
            )
        elif source in seen:
            said.fault(("forward-port",), f"leads on from {source} twice: leave one")
        else:
            seen.add(source)
            yield source, target
