"""What does a load balancer change in requests and answers? Pure.

Who asks, and by what, is told to backends in fields. Where a client is to stay with its backend, a
cookie has the backend's mark: one of the load balancer's own (SERVERID), or the backends' own
cookie with the mark for its value. Source: CLB help pages, "Add an HTTP listener" and "Configure
session persistence"; ALB help page "HTTP header fields" for how fields are spelt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from http import HTTPStatus

from terway.lab.balancer.http_heads import Head
from terway.lab.cloud.http_records import HttpListenerRecord
from terway.lab.cloud.http_view import RequestHandling
from terway.model.address import IPAddress

OWN_COOKIE = "SERVERID"
_HTTPS = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One client's connection to a listener."""

    client: IPAddress
    client_port: int
    address: IPAddress
    port: int
    handling: RequestHandling

    @property
    def protocol(self) -> str:
        """Return the listener's protocol as it is told."""
        return "https" if self.handling.certificate is not None else "http"


def mark_of(address: IPAddress, port: int) -> str:
    """Return what stands for a backend in a cookie."""
    return blake2b(f"{address} {port}".encode(), digest_size=16).hexdigest()


def cookie_of(http: HttpListenerRecord) -> str:
    """Return the name of the cookie with the mark; empty where clients need not stay."""
    names = {"insert": OWN_COOKIE, "server": http.cookie}
    return names.get(http.sticky_kind, "")


def asked_mark(request: Head, http: HttpListenerRecord) -> str:
    """Return the mark that a client brings; empty for none."""
    name = cookie_of(http)
    # By hand: of a list with one odd cookie Python's own reader knows none.
    pairs = (one.strip().partition("=") for one in request.get("Cookie").split(";"))
    return next((value.strip('"') for key, _, value in pairs if name and key == name), "")


def for_backend(request: Head, about: Exchange) -> Head:
    """Return the request as a backend gets it, on a connection of its own."""
    http = about.handling.http
    plain = request.without_hops().without(("Expect",))
    chain = ", ".join(filter(None, (request.get("X-Forwarded-For"), str(about.client))))
    told = (
        (http.tells_client, "X-Forwarded-For", chain),
        (http.tells_protocol, "X-Forwarded-Proto", about.protocol),
        (http.tells_port, "X-Forwarded-Port", str(about.port)),
        (http.tells_client_port, "X-Forwarded-Client-srcport", str(about.client_port)),
        (http.tells_id, "SLB-ID", about.handling.balancer_id),
        (http.tells_address, "SLB-IP", str(about.address)),
    )
    for is_told, name, value in told:
        plain = plain.put(name, value) if is_told else plain
    if "upgrade" in request.tokens("Connection"):
        return plain.put("Upgrade", request.get("Upgrade")).put("Connection", "upgrade")
    return plain.put("Connection", "close")


def for_client(answer: Head, http: HttpListenerRecord, mark: str, *, stays_open: bool) -> Head:
    """Return a backend's answer as the client gets it."""
    plain = answer.without_hops().put("Connection", "keep-alive" if stays_open else "close")
    match http.sticky_kind:
        case "insert":
            said = f"{OWN_COOKIE}={mark};Max-Age={http.cookie_timeout_s};Path=/"
            return replace(plain, fields=(*plain.fields, ("Set-Cookie", said)))
        case "server":
            fields = tuple(_marked(one, http.cookie, mark) for one in plain.fields)
            return replace(plain, fields=fields)
        case _:
            return plain


def _marked(field: tuple[str, str], cookie: str, mark: str) -> tuple[str, str]:
    name, value = field
    first, sign, rest = value.partition(";")
    if name.lower() != "set-cookie" or first.partition("=")[0].strip() != cookie:
        return field
    return name, f"{cookie}={mark}{sign}{rest}"


def led_on(request: Head, about: Exchange) -> Head:
    """Return the answer that leads a client on to HTTPS."""
    address = about.address
    host = request.get("Host") or (f"[{address}]" if address.version == 6 else str(address))
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    port = about.handling.http.redirect_port
    place = name if port == _HTTPS else f"{name}:{port}"
    answer = own_answer(HTTPStatus.FOUND)
    return answer.put("Location", f"https://{place}{request.target}")


def own_answer(status: HTTPStatus) -> Head:
    """Return an answer of the load balancer's own, without a body; the connection ends with it."""
    line = f"HTTP/1.1 {status.value} {status.phrase}"
    return Head(line=line, fields=(("Content-Length", "0"), ("Connection", "close")))
