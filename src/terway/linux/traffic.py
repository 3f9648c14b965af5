"""How traffic objects are put on a link, taken from it, and read. Blocking; for workers.

`Traffic` holds what outlives a job: loaded programs. One is shared by all jobs of a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.linux import pacing, shared_limits
from terway.linux.ebpf.datapath import DataPath, OfDataPath
from terway.linux.guard import Guards
from terway.linux.netlink import qdisc
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.priorities import Priorities
from terway.linux.trunk import Trunks
from terway.model.errors import BugError
from terway.model.network import Link, NetObject
from terway.model.programs import Edge, PodPrograms
from terway.model.traffic import (
    Guard,
    Pacing,
    PriorityBands,
    PriorityClass,
    SharedLimit,
    TokenBucket,
    TrafficObject,
    TrunkMember,
    TrunkPrograms,
)


class Traffic:
    """Traffic control of the node's links and of the pods'.

    `datapath` is set where the node has one in eBPF.
    """

    def __init__(self) -> None:
        self.guards = Guards()
        self.priorities = Priorities()
        self.trunks = Trunks()
        self.datapath: DataPath | None = None

    def puts(self, sock: RouteSocket, wanted: TrafficObject, ifindex: int) -> tuple[Request, ...]:
        """Return the messages that put `wanted` on the link `ifindex`."""
        if isinstance(wanted, OfDataPath):
            return self._loaded(wanted).puts(sock, wanted, ifindex)
        if isinstance(wanted, TrunkMember | TrunkPrograms):
            return self._put_trunk(sock, wanted, ifindex)
        return self._puts(sock, wanted, ifindex)

    def _put_trunk(
        self, sock: RouteSocket, wanted: TrunkMember | TrunkPrograms, ifindex: int
    ) -> tuple[Request, ...]:
        """Put a trunk's programs, and the data path's behind them."""
        for request in self.trunks.puts(sock, wanted, ifindex):
            sock.request(request)
        return () if self.datapath is None else self.datapath.stand_behind_tags(sock, ifindex)

    def _remove_trunk(
        self, sock: RouteSocket, unwanted: TrunkMember | TrunkPrograms, ifindex: int
    ) -> tuple[Request, ...]:
        """Take a member away; or a trunk's programs, and put the data path's where they were."""
        requests = self.trunks.removals(sock, unwanted, ifindex)
        if isinstance(unwanted, TrunkMember) or self.datapath is None:
            return requests
        for request in requests:
            sock.request(request)
        return self.datapath.edges.put(sock, ifindex, Edge.ENI)

    def _puts(self, sock: RouteSocket, wanted: TrafficObject, ifindex: int) -> tuple[Request, ...]:
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

    def _loaded(self, wanted: TrafficObject) -> DataPath:
        if self.datapath is None:
            raise BugError(f"the data path is not loaded that {wanted} is of")
        return self.datapath

    def removals(
        self, sock: RouteSocket, unwanted: TrafficObject, ifindex: int
    ) -> tuple[Request, ...]:
        """Return the messages that take `unwanted` from the link `ifindex`."""
        if isinstance(unwanted, OfDataPath):
            return self._loaded(unwanted).removals(unwanted, ifindex)
        if isinstance(unwanted, TrunkMember | TrunkPrograms):
            return self._remove_trunk(sock, unwanted, ifindex)
        return self._removals(sock, unwanted, ifindex)

    def _removals(
        self, sock: RouteSocket, unwanted: TrafficObject, ifindex: int
    ) -> tuple[Request, ...]:
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

    def forget(self, unwanted: TrafficObject) -> None:
        """Forget what is known of an object whose link is gone already."""
        if isinstance(unwanted, PodPrograms):
            self._loaded(unwanted).removals(unwanted, None)
        elif isinstance(unwanted, TrunkMember):
            self.trunks.forget(unwanted)

    def read_guarded(self, sock: RouteSocket, found: Link) -> Iterator[TrafficObject]:
        """Read what a host link has: its guard, and its limits."""
        held = self.guards.read(sock, found.name, found.ifindex)
        if held is not None:
            yield held
        pod = None if self.datapath is None else self.datapath.read_pod(sock, found)
        if pod is not None:
            yield pod
        yield from self.read_limits(sock, found)

    def read_classes(
        self, sock: RouteSocket, wanted: Iterable[NetObject]
    ) -> Iterator[TrafficObject]:
        """Read what `wanted` has on links that pods share: classes of addresses, endpoints."""
        for one in wanted:
            held: TrafficObject | None = None
            if isinstance(one, PriorityClass):
                held = self.priorities.read_class(sock, one)
            elif isinstance(one, TrunkMember):
                held = self.trunks.read_member(sock, one)
            elif isinstance(one, PodPrograms) and self.datapath is not None:
                held = self.datapath.read_child(sock, one)
            if held is not None:
                yield held

    def read_edges(self, sock: RouteSocket, links: Iterable[Link]) -> Iterator[TrafficObject]:
        """Read the data path's programs of the devices that lead to the node."""
        if self.datapath is not None:
            yield from self.datapath.read_node(sock, links)

    def read_limits(self, sock: RouteSocket, found: Link) -> Iterator[TrafficObject]:
        """Read the limits that a link has."""
        yield from shared_limits.read(sock, found)
        yield from pacing.read(sock, found)
        inner = None if self.datapath is None else self.datapath.read_inner(sock, found)
        if inner is not None:
            yield inner
        if found.qdisc != "tbf":
            return
        for one in sock.query(qdisc.qdiscs_of(found.ifindex)):
            bucket = qdisc.token_bucket(one, found.name)
            if bucket is not None:
                yield bucket
