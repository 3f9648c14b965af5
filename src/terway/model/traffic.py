"""What stands on the way of a link's packets: guards, limits, classes (traffic control).

Kernel objects like those of `model.network`, and planned, applied and verified like them. A link
has at most one of each kind, so its name and the kind are the place of such an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from terway.model.address import IPAddress, IPPair
from terway.model.ids import MacAddress
from terway.model.interface import NetworkPriority


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficObject:
    """Something on the way of the packets of `link`."""

    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(TrafficObject):
    """Lets in by `link` only what comes from these addresses and this MAC.

    `mac` and `link_local` are those of the pod's end. A link-local source may not leave the link.
    A link that carried packets before there was a guard `is_on_living_link`.
    """

    mac: MacAddress
    addresses: IPPair
    link_local: IPv6Address
    is_on_living_link: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket(TrafficObject):
    """A tbf qdisc: what leaves by `link` leaves at this rate; what comes faster waits, or is lost.

    Bytes per second of whole Ethernet frames. `limit_bytes` may wait.
    """

    rate_bytes_s: int
    burst_bytes: int
    limit_bytes: int

    def is_like(self, other: TokenBucket) -> bool:
        """Return whether the two are one: the kernel tells the burst as a time, in 64 ns steps."""
        near = abs(self.burst_bytes - other.burst_bytes) <= 64 + self.burst_bytes // 100
        return near and (self.link, self.rate_bytes_s, self.limit_bytes) == (
            other.link,
            other.rate_bytes_s,
            other.limit_bytes,
        )


class Direction(Enum):
    """Which of a pod's packets: those that come to it, or those that it sends."""

    INGRESS = "ingress"
    EGRESS = "egress"


SHARED_LINK: Mapping[Direction, str] = {
    Direction.INGRESS: "tw-ingress",
    Direction.EGRESS: "tw-egress",
}
"""The link in a pod that has the bucket which its other links share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLimit(TrafficObject):
    """What passes `link` in a direction passes `bucket` first, as the pod's other links may too.

    The bucket is on a link of its own (an ifb), for a device cannot make wait what comes to it,
    and two devices cannot share a queue.
    """

    direction: Direction
    bucket: TokenBucket

    def is_like(self, other: SharedLimit) -> bool:
        """Return whether the two are one, as far as the kernel tells."""
        same = (self.link, self.direction) == (other.link, other.direction)
        return same and self.bucket.is_like(other.bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing(TrafficObject):
    """Earliest departure times and an fq qdisc: what leaves by `link` leaves at this rate.

    Bytes per second of whole Ethernet frames.
    """

    rate_bytes_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkMember(TrafficObject):
    """What leaves a trunk's `link` from these addresses is tagged, and has the member's MAC.

    What comes tagged so, for that MAC, is untagged and the node's. A member that `has_device` has
    a VLAN device, which takes the tags off and puts them on: then what leaves with the tag, and
    not from that MAC and one of the addresses, is dropped.
    """

    vlan_id: int
    mac: MacAddress
    addresses: IPPair
    has_device: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkPrograms(TrafficObject):
    """The programs that do so, at both hooks of a trunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityBands(TrafficObject):
    """Three queues on each transmit queue of `link`, and the filter that chooses among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityClass(TrafficObject):
    """Which of the three queues of `link` packets from `source` wait in."""

    source: IPAddress
    priority: NetworkPriority
