"""What waits or was lost in the queues that hold a pod to its bandwidth? Blocking; for tools.

Source: include/uapi/linux/pkt_sched.h and gen_stats.h (TCA_STATS2, gnet_stats_queue).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from terway.linux.netlink import qdisc
from terway.linux.netlink.codec import Query, attributes, text
from terway.linux.netlink.socket import RouteSocket

_TCMSG = struct.Struct("=BxxxiIII")
_TCA_KIND, _TCA_STATS2 = 1, 7
_STATS_QUEUE = 3
_QUEUE = struct.Struct("=IIIII")  # packets and bytes that wait, drops, requeues, overlimits
_KINDS = ("tbf", "fq")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCount:
    """A queue of a link: how many packets it has lost since it was made, and how many wait."""

    kind: str
    dropped: int
    waiting: int


def read_queues(sock: RouteSocket, ifindex: int) -> tuple[QueueCount, ...]:
    """Return the queues of a link that hold a rate; empty where nothing is limited."""

    def decode(body: bytes) -> QueueCount | None:
        return _decode(body) if _TCMSG.unpack_from(body)[1] == ifindex else None

    return tuple(
        sock.query(
            Query(
                type=qdisc.RTM_GETQDISC,
                body=_TCMSG.pack(0, ifindex, 0, 0, 0),
                decode=decode,
                what=f"qdisc show dev {ifindex}",
            )
        )
    )


def _decode(body: bytes) -> QueueCount | None:
    found = attributes(body, _TCMSG.size)
    kind = text(found.get(_TCA_KIND, b""))
    if kind not in _KINDS or _TCA_STATS2 not in found:
        return None
    counts = attributes(found[_TCA_STATS2]).get(_STATS_QUEUE)
    if counts is None:
        return None
    waiting, _bytes, dropped, _again, _late = _QUEUE.unpack_from(counts)
    return QueueCount(kind=kind, dropped=dropped, waiting=waiting)
