"""How a limit becomes a queue: rate, and how much may pass at once and wait.

    veth          node                 pod
      ingress  tbf on cali…   ──────►  eth0            what comes to the pod leaves by cali…
      egress         cali…   ◄──────  queue on eth0    what the pod sends leaves by eth0

    exclusive                          pod
      ingress  the VPC ─► eth0 ─┐
               node ─► veth1 ───┴► tw-ingress, tbf ─► the pod's stack
      egress   the pod's stack ─► tw-egress, tbf ─► eth0 or veth1

Both families share a queue, so a limit is one limit; and so do both legs of an exclusive pod. The
queue for what a pod sends is a tbf, or an fq with departure times (`bandwidth_mode`). Source of
the numbers: upstream Terway, pkg/tc (burst and limit of tbf).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.datapath.diff import diff
from terway.datapath.facts import NodeFacts
from terway.datapath.guard import suited
from terway.model.interface import Bandwidth
from terway.model.network import NODE, AttachmentState, NetObject, Operation
from terway.model.traffic import (
    SHARED_LINK,
    Direction,
    Pacing,
    SharedLimit,
    TokenBucket,
    TrafficObject,
)

_WAIT_MS = 25  # how long a full queue takes to drain
# Upstream has the link's MTU and 1500 more. Here it is the largest MTU: tbf loses packets that are
# larger than its burst, and a rate does not depend on the link it is on.
_LEAST_BURST_BYTES = 9000 + 1500


def ingress_limits(bandwidth: Bandwidth, link: str) -> Iterator[TokenBucket]:
    """Yield what holds the pod's ingress, on the node's `link` to it."""
    if bandwidth.ingress is not None:
        yield token_bucket(link, bandwidth.ingress)


def egress_limits(bandwidth: Bandwidth, link: str, node: NodeFacts) -> Iterator[TrafficObject]:
    """Yield what holds the pod's egress, on its own `link`."""
    if bandwidth.egress is None:
        return
    if node.has_pacing:
        yield Pacing(link=link, rate_bytes_s=bandwidth.egress)
    else:
        yield token_bucket(link, bandwidth.egress)


def shared_limits(bandwidth: Bandwidth, link: str, node: NodeFacts) -> Iterator[TrafficObject]:
    """Yield what holds a pod with two links to its limits, on `link`, one of them.

    Where links cannot share a limit, each has its own, and only on what the pod sends.
    """
    if not node.has_shared_limits:
        yield from egress_limits(bandwidth, link, node)
        return
    if bandwidth.ingress is not None:
        yield _shared(link, Direction.INGRESS, bandwidth.ingress)
    if node.has_pacing:
        yield from egress_limits(bandwidth, link, node)  # all links of a pod share one clock
    elif bandwidth.egress is not None:
        yield _shared(link, Direction.EGRESS, bandwidth.egress)


def _shared(link: str, direction: Direction, rate_bytes_s: int) -> SharedLimit:
    bucket = token_bucket(SHARED_LINK[direction], rate_bytes_s)
    return SharedLimit(link=link, direction=direction, bucket=bucket)


def token_bucket(link: str, rate_bytes_s: int) -> TokenBucket:
    """Return the tbf for a rate: at least one packet, or a millisecond's worth, at once."""
    burst = max(-(-rate_bytes_s // 1000), _LEAST_BURST_BYTES)
    return TokenBucket(
        link=link,
        rate_bytes_s=rate_bytes_s,
        burst_bytes=burst,
        limit_bytes=rate_bytes_s * _WAIT_MS // 1000 + burst,
    )


def plan_limits(desired: AttachmentState, actual: AttachmentState) -> tuple[Operation, ...]:
    """Return what makes the limits of an attachment as desired. Nothing, when they are.

    Only where both ends are known to be one veth: the namespace may be another's by now.
    """
    if not actual.is_paired:
        return ()
    desired = suited(desired, actual)
    end = desired.birth.peer.name
    inside = (one for one in _traffic(actual.pod or ()) if one.link == end)
    sides = (
        (NODE, desired.node, actual.node),
        (desired.birth.netns, desired.pod or (), tuple(inside)),
    )
    changes = (
        diff(_traffic(wanted), _traffic(found), netns=netns, is_owned=lambda _: True)
        for netns, wanted, found in sides
    )
    return tuple(one for change in changes for one in change.operations)


def _traffic(objects: Iterable[NetObject]) -> Iterator[TrafficObject]:
    return (one for one in objects if isinstance(one, TrafficObject))
