"""How does a listener of HTTP or HTTPS take requests and pass them on?

Ranges and defaults are those of CLB. Source: OpenAPI SLB 2014-05-15, CreateLoadBalancerHTTPListener
and CreateLoadBalancerHTTPSListener.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

TLS_POLICIES = (
    "tls_cipher_policy_1_0",
    "tls_cipher_policy_1_1",
    "tls_cipher_policy_1_2",
    "tls_cipher_policy_1_2_strict",
    "tls_cipher_policy_1_2_strict_with_1_3",
)
LONGEST_COOKIE_S = 86400
LONGEST_IDLE_S = 60
LONGEST_REQUEST_S = 180


class CookieKind(Enum):
    """By whose cookie a client stays with its backend."""

    INSERT = "insert"  # the load balancer's own
    SERVER = "server"  # one that backends set


@dataclass(frozen=True, slots=True, kw_only=True)
class StickySession:
    """A client stays with its backend. `timeout_s` is INSERT's, `cookie` (a name) SERVER's."""

    kind: CookieKind
    timeout_s: int = 0  # 1 to 86400
    cookie: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsTermination:
    """With what a listener of HTTPS ends TLS; backends are spoken to in plain HTTP."""

    certificate_id: str
    policy: str = TLS_POLICIES[0]
    speaks_http2: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpForwarding:
    """What a listener of HTTP or HTTPS has beside its scheduler and health check.

    With `redirect_port` (HTTP only) each request is answered with the same place at that port, by
    HTTPS, and no backend is asked. X-Forwarded-For is always told.
    """

    sticky: StickySession | None = None
    idle_s: int = 15  # how long a client's connection waits for its next request
    request_s: int = 60  # how long a backend may take to answer
    tells_protocol: bool = False  # X-Forwarded-Proto
    tells_port: bool = False  # XForwardedFor_SLBPORT: the listener's
    tells_client_port: bool = False  # XForwardedFor_ClientSrcPort
    tls: TlsTermination | None = None  # of HTTPS, always
    redirect_port: int = 0
