"""Who goes first on a crowded ENI: three queues, and one program that chooses among them.

    clsact egress of the ENI   classes[source] = value of skb->priority, one entry an address
    root of the ENI            prio, or mq with a prio on each transmit queue

Where the kernel has no prio, pfifo_fast, which every kernel has, does the same with the same
values. What the ENI had at its root is replaced; its default comes back with `removals`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address

from terway.bpf_objects import object_path
from terway.linux.netlink import qdisc
from terway.linux.netlink.codec import Request
from terway.linux.netlink.qdisc import HANDLE, ROOT, Qdisc
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import SharedProgram
from terway.model.address import IPAddress
from terway.model.errors import ConflictError
from terway.model.interface import NetworkPriority
from terway.model.network import Link
from terway.model.traffic import PriorityBands, PriorityClass

OBJECT = object_path("priority")
PROGRAM = "terway_priority"
PRIORITY = 300  # of the filter; upstream's VLAN filters (50001, 50002) come after it

_VALUE = struct.Struct("=I")
# include/uapi/linux/pkt_sched.h, TC_PRIO_*: interactive, best effort, bulk.
_VALUES = {
    NetworkPriority.GUARANTEED: 6,
    NetworkPriority.BURSTABLE: 0,
    NetworkPriority.BEST_EFFORT: 2,
}
_PRIORITIES = {value: priority for priority, value in _VALUES.items()}
_BAND_KINDS = ("prio", "pfifo_fast")


class Priorities:
    """The classes of the node's pods."""

    def __init__(self) -> None:
        self._program = SharedProgram(OBJECT, PROGRAM, hook=Hook.EGRESS, priority=PRIORITY)

    def put_bands(self, sock: RouteSocket, ifindex: int) -> tuple[Request, ...]:
        """Put the queues on a link; return what makes the program see its packets."""
        found = sock.query(qdisc.qdiscs_of(ifindex))
        if any(one.parent == ROOT and one.kind == "mq" for one in found):
            sock.request(qdisc.put_simple(ifindex, "mq", handle=HANDLE))
            for one in _children(sock.query(qdisc.qdiscs_of(ifindex))):
                _put_band(sock, ifindex, handle=0, parent=one.parent)
        else:
            _put_band(sock, ifindex, handle=HANDLE, parent=ROOT)
        return self._program.attach(sock, ifindex)

    def remove_bands(self, ifindex: int) -> tuple[Request, ...]:
        """Return what gives a link its default queues back."""
        return (self._program.detach(ifindex), qdisc.remove_root(ifindex))

    def read_bands(self, sock: RouteSocket, links: Iterable[Link]) -> Iterator[PriorityBands]:
        """Yield the links that have our queues and our program."""
        for one in links:
            if one.qdisc not in ("mq", *_BAND_KINDS):
                continue
            is_ours = _has_bands(sock.query(qdisc.qdiscs_of(one.ifindex)))
            if is_ours and self._program.is_attached(sock, one.ifindex):
                yield PriorityBands(link=one.name)

    def put_class(self, sock: RouteSocket, wanted: PriorityClass) -> None:
        """Say in which queue the packets of an address wait."""
        value = _VALUE.pack(_VALUES[wanted.priority])
        self._program.open(sock).maps["classes"].update(_key(wanted.source), value)

    def remove_class(self, sock: RouteSocket, unwanted: PriorityClass) -> None:
        """Forget an address; that it is not known is success."""
        self._program.open(sock).maps["classes"].delete(_key(unwanted.source))

    def read_class(self, sock: RouteSocket, wanted: PriorityClass) -> PriorityClass | None:
        """Return the class that the address of `wanted` has; None when it has none."""
        value = self._program.open(sock).maps["classes"].lookup(_key(wanted.source))
        if value is None:
            return None
        priority = _PRIORITIES[_VALUE.unpack(value)[0]]
        return PriorityClass(link=wanted.link, source=wanted.source, priority=priority)


def _put_band(sock: RouteSocket, ifindex: int, *, handle: int, parent: int) -> None:
    try:
        sock.request(qdisc.put_prio(ifindex, handle=handle, parent=parent))
    except ConflictError as error:
        if error.code != "ENOENT":  # what the kernel says of a qdisc that it does not have
            raise
        sock.request(qdisc.put_simple(ifindex, "pfifo_fast", handle=handle, parent=parent))


def _has_bands(found: list[Qdisc]) -> bool:
    root = next((one for one in found if one.parent == ROOT and one.handle == HANDLE), None)
    if root is None:
        return False
    return root.kind in _BAND_KINDS or all(one.kind in _BAND_KINDS for one in _children(found))


def _children(found: list[Qdisc]) -> list[Qdisc]:
    return [one for one in found if one.parent != ROOT and one.parent & 0xFFFF0000 == HANDLE]


def _key(address: IPAddress) -> bytes:
    if isinstance(address, IPv6Address):
        return address.packed
    return bytes(10) + b"\xff\xff" + address.packed
