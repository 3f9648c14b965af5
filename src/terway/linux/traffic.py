"""How traffic objects are put on a link, taken from it, and read. Blocking; for workers.

`Traffic` holds what outlives a job: loaded programs. One is shared by all jobs of a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.linux import pacing, shared_limits
from terway.linux.guard import Guards
from terway.linux.netlink import qdisc
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.priorities import Priorities
from terway.model.errors import BugError
from terway.model.network import Link, NetObject
from terway.model.traffic import (
    Guard,
    Pacing,
    PriorityBands,
    PriorityClass,
    SharedLimit,
    TokenBucket,
    TrafficObject,
)


class Traffic:
    """Traffic control of the node's links and of the pods'."""

    def __init__(self) -> None:
        self.guards = Guards()
        self.priorities = Priorities()

    def puts(self, sock: RouteSocket, wanted: TrafficObject, ifindex: int) -> tuple[Request, ...]:
        """Return the messages that put `wanted` on the link `ifindex`."""
        match wanted:
            case Guard():
                return self.guards.requests(sock, wanted, ifindex)
            case TokenBucket():
                # The queue is at the root now, where an fq of ours may have been.
                return (qdisc.put_tbf(wanted, ifindex), pacing.detach(ifindex))
            case Pacing():
                pacing.put(sock, wanted, ifindex)
                return ()
            case SharedLimit():
                return shared_limits.put(sock, wanted, ifindex)
            case PriorityBands():
                return self.priorities.put_bands(sock, ifindex)
            case PriorityClass():
                self.priorities.put_class(sock, wanted)
                return ()
            case _:
                raise BugError(f"nobody knows how to put {wanted}")

    def removals(
        self, sock: RouteSocket, unwanted: TrafficObject, ifindex: int
    ) -> tuple[Request, ...]:
        """Return the messages that take `unwanted` from the link `ifindex`."""
        match unwanted:
            case Guard():
                return (self.guards.remove(ifindex),)
            case TokenBucket():
                return (qdisc.remove_root(ifindex),)
            case Pacing():
                return (pacing.detach(ifindex), qdisc.remove_root(ifindex))
            case SharedLimit():
                shared_limits.remove(sock, unwanted, ifindex)
                return ()
            case PriorityBands():
                return self.priorities.remove_bands(ifindex)
            case PriorityClass():
                self.priorities.remove_class(sock, unwanted)
                return ()
            case _:
                raise BugError(f"nobody knows how to remove {unwanted}")

    def read_guarded(self, sock: RouteSocket, found: Link) -> Iterator[TrafficObject]:
        """Read what a host link has: its guard, and its limits."""
        held = self.guards.read(sock, found.name, found.ifindex)
        if held is not None:
            yield held
        yield from self.read_limits(sock, found)

    def read_classes(
        self, sock: RouteSocket, wanted: Iterable[NetObject]
    ) -> Iterator[PriorityClass]:
        """Read the classes of the addresses that `wanted` has classes for."""
        for one in wanted:
            held = self.priorities.read_class(sock, one) if isinstance(one, PriorityClass) else None
            if held is not None:
                yield held

    def read_limits(self, sock: RouteSocket, found: Link) -> Iterator[TrafficObject]:
        """Read the limits that a link has."""
        yield from shared_limits.read(sock, found)
        yield from pacing.read(sock, found)
        if found.qdisc != "tbf":
            return
        for one in sock.query(qdisc.qdiscs_of(found.ifindex)):
            bucket = qdisc.token_bucket(one, found.name)
            if bucket is not None:
                yield bucket
