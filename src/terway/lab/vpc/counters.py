"""What a port has carried and dropped, and why: the sum over CPUs of its counters."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from terway.lab.vpc.contract import COUNTERS, DropReason

_DROPS = struct.Struct(f"={len(DropReason)}Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCounters:
    """Seen from the ENI: egress is what its instance sent. `drops` has only what happened.

    A packet that the receiver's security groups refuse counts at the receiver, every other drop
    at the sender. Bytes are those of frames; a GSO packet counts once.
    """

    egress_packets: int = 0
    egress_bytes: int = 0
    ingress_packets: int = 0
    ingress_bytes: int = 0
    answered: int = 0  # ARP, neighbour discovery, echo and "too big", by the router itself
    drops: Mapping[DropReason, int] = field(default_factory=lambda: MappingProxyType({}))


def add_counters(values: Iterable[bytes]) -> PortCounters:
    """Return the sum of packed counters, one for each CPU."""
    sums = dict.fromkeys(("egress_packets", "egress_bytes", "ingress_packets"), 0)
    sums |= dict.fromkeys(("ingress_bytes", "answered"), 0)
    drops = [0] * len(DropReason)
    for value in values:
        unpacked = COUNTERS.unpack(value[: COUNTERS.size])
        for name in sums:
            sums[name] += int(unpacked[name])
        packed = unpacked["drops"]
        assert isinstance(packed, bytes)
        drops = [a + b for a, b in zip(drops, _DROPS.unpack(packed), strict=True)]
    found = {reason: drops[reason] for reason in DropReason if drops[reason]}
    return PortCounters(**sums, drops=MappingProxyType(found))
