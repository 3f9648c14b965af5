"""By what can this kernel hold pods to their limits? Asked by trying it, where it harms nobody.

Options and modules of kernels differ, and a version does not tell them. Blocking; for workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terway.linux import pacing, shared_limits
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netns import fresh_netns
from terway.model.errors import VpcError
from terway.model.traffic import SHARED_LINK, Direction, Pacing, SharedLimit, TokenBucket

_LOOPBACK = 1  # the number of lo in every namespace
_RATE_BYTES_S = 125_000
_BUCKET = TokenBucket(
    link=SHARED_LINK[Direction.INGRESS],
    rate_bytes_s=_RATE_BYTES_S,
    burst_bytes=10_500,
    limit_bytes=20_000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSupport:
    """What is missing, in the kernel's words; nothing where it works."""

    pacing_lacks: str = ""
    sharing_lacks: str = ""


def read_limit_support() -> LimitSupport:
    """Try departure times (fq, and our program) and shared limits (ifb, mirred, tbf) on a lo."""
    with fresh_netns(), open_route_socket() as sock:
        return LimitSupport(
            pacing_lacks=_lack(lambda: _try_pacing(sock)),
            sharing_lacks=_lack(lambda: _try_sharing(sock)),
        )


def _lack(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except VpcError as error:
        return str(error).partition("\n")[0]  # the verifier's words are many lines
    return ""


def _try_pacing(sock: RouteSocket) -> None:
    pacing.put(sock, Pacing(link="lo", rate_bytes_s=_RATE_BYTES_S), _LOOPBACK)


def _try_sharing(sock: RouteSocket) -> None:
    wanted = SharedLimit(link="lo", direction=Direction.INGRESS, bucket=_BUCKET)
    for request in shared_limits.put(sock, wanted, _LOOPBACK):
        sock.request(request)
