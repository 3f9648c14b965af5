"""The kernel as the agent sees it: apply operations, read state back, wait for a link.

Every method runs in a worker thread and costs the event loop nothing but the hop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from terway.linux import apply, conntrack, path_mtu, read, sysctl, translation
from terway.linux.device import read_device
from terway.linux.ebpf import enrolment
from terway.linux.ebpf.contract import LAYOUT
from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.node_sockets import NodeSockets, serve_sockets
from terway.linux.ebpf.opening import open_datapath
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.programs import OBJECT
from terway.linux.ebpf.removal import remove_datapath, remove_programs
from terway.linux.guard_bell import Bell, open_bell
from terway.linux.ipvlan_support import ipvlan_lacks
from terway.linux.limit_support import LimitSupport, read_limit_support
from terway.linux.monitor import EventsLost, Monitor, Watched, open_monitor
from terway.linux.netlink.socket import open_route_socket
from terway.linux.nftables import OwnedTable
from terway.linux.reaper import Reaper
from terway.linux.session import Session, open_session
from terway.linux.traffic import Traffic
from terway.linux.trunk_contract import TrunkLoss
from terway.linux.uplink import Uplink, read_uplink
from terway.linux.vlan_support import vlan_lacks
from terway.linux.workers import Workers
from terway.model.address import Family, IPAddress
from terway.model.device import Device, DeviceState
from terway.model.errors import TransientError, VpcError
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    DeleteLink,
    Link,
    Netns,
    NodeState,
    Operation,
    Sysctl,
)
from terway.model.traffic import TrunkMember

T = TypeVar("T")

Planner = Callable[[AttachmentState, AttachmentState], Sequence[Operation]]
"""Makes operations of the desired and the actual state of an attachment."""


class Kernel:
    """The kernel of the node, seen from the network namespace the process lives in."""

    def __init__(self, workers: Workers, reaper: Reaper) -> None:
        self._workers = workers
        self._reaper = reaper
        self._traffic = Traffic()

    async def apply(self, operations: Sequence[Operation]) -> None:
        """Carry out `operations` in order; stop at the first that fails and raise its error.

        Idempotent. Links deleted without `now` are gone some tens of ms after this returns.
        """
        if not operations:
            return
        await self._run(partial(apply.apply, operations))
        self._wake_reaper(operations)

    async def read_attachment(self, desired: AttachmentState) -> AttachmentState:
        """Return the actual state of an attachment; `desired` says where to look."""
        return await self._run(partial(read.read_attachment, desired))

    async def read_device(self, device: Device) -> DeviceState:
        """Return where an ENI's device is, and what it has there."""
        return await self._run(partial(read_device, device))

    async def read_inside(self, desired: AttachmentState) -> AttachmentState:
        """Return what an attachment has in the pod's own namespace and on its veth.

        The rest of the node's half is left out: it is read for all pods at once, by `read_node`.
        """
        return await self._run(partial(read.read_inside, desired))

    async def apply_and_read(
        self, operations: Sequence[Operation], desired: AttachmentState
    ) -> AttachmentState:
        """Carry out `operations`, then return the actual state of an attachment.

        Both in one visit to the kernel, which costs less than one after the other.
        """

        def work(session: Session) -> AttachmentState:
            apply.apply(operations, session)
            return read.read_attachment(desired, session)

        actual = await self._run(work)
        self._wake_reaper(operations)
        return actual

    async def undo(
        self, desired: AttachmentState, plan: Planner, *, is_as_made: bool = True
    ) -> None:
        """Carry out what `plan` makes of an attachment's desired and actual state.

        In one visit to the kernel, as `apply_and_read`. `plan` runs in a thread: it must be pure.
        An attachment whose host link is there is believed to be as it was made, unless the caller
        knows better: removing what is not there is success, and reading the node's tables for one
        pod's rules would be most of the work.
        """

        def work(session: Session) -> Sequence[Operation]:
            is_whole = is_as_made and read.is_there(desired, session)
            actual = desired if is_whole else read.read_attachment(desired, session)
            operations = plan(desired, actual)
            apply.apply(operations, session)
            return operations

        self._wake_reaper(await self._run(work))

    def _wake_reaper(self, operations: Sequence[Operation]) -> None:
        if any(isinstance(one, DeleteLink) and not one.now for one in operations):
            self._reaper.wake()

    async def read_node(self, sysctls: Iterable[Sysctl] = ()) -> NodeState:
        """Return the actual state of the node's namespace, with those of its settings."""
        return await self._run(partial(read.read_node, tuple(sysctls)))

    async def settings_differ(self, wanted: Sequence[Sysctl]) -> bool:
        """Return whether one of the node's settings that there are has another value."""

        def look() -> bool:
            return any(sysctl.read(one.path) not in (one.value, None) for one in wanted)

        return await self._workers.run(look)

    async def read_settings(self, paths: Collection[str]) -> dict[str, str]:
        """Return the values of those of the node's settings that there are, by path."""

        def look() -> dict[str, str]:
            found = ((path, sysctl.read(path)) for path in paths)
            return {path: value for path, value in found if value is not None}

        return await self._workers.run(look)

    async def links(self) -> tuple[Link, ...]:
        """Return the links of the node's namespace."""
        return await self._run(read.read_links)

    def has_link(self, name: str, ifindex: int) -> bool:
        """Return whether the link is there, still with this name and number.

        One ioctl in the calling thread, cheap enough to be asked instead of remembered.
        """
        try:
            return socket.if_nametoindex(name) == ifindex
        except OSError:
            return False

    async def find_link(self, mac: MacAddress) -> Link | None:
        """Return the link that has an ENI's MAC now, as `link_by_mac`; None when there is none."""
        return _with_mac(await self.links(), mac)

    async def _run(self, work: Callable[[Session], T]) -> T:
        def in_session() -> T:
            with open_session(self._traffic) as session:
                return work(session)

        return await self._workers.run(in_session)

    def open_bell(self) -> AbstractContextManager[Bell]:
        """Open what tells that packets of a pod's link come from another MAC than they should.

        Loads the guard's program where nothing has needed it yet: some 10 ms.
        """
        with open_route_socket() as sock:
            return open_bell(self._traffic.guards.open(sock).maps["bell"])

    async def forget_gone_links(self) -> None:
        """Forget what the guards know of links that are gone. No link may be made meanwhile."""

        def work(session: Session) -> None:
            numbers = {one.ifindex for one in read.read_links(session)}
            self._traffic.guards.forget_others(numbers)

        await self._run(work)

    async def know_members(self, members: Collection[TrunkMember]) -> None:
        """Have a trunk's programs know `members` before they see packets of them."""
        if not members:
            return

        def work(session: Session) -> None:
            self._traffic.trunks.know(session.namespace(NODE).sock, members)

        await self._run(work)

    async def forget_other_members(self, members: Collection[TrunkMember]) -> None:
        """Forget what a trunk's programs know of all but `members`."""
        await self._workers.run(partial(self._traffic.trunks.forget_others, members))

    def trunk_losses(self) -> dict[TrunkLoss, int]:
        """Return how many frames of trunks were lost here, by reason; empty without members."""
        return self._traffic.trunks.losses()

    async def link_by_mac(self, mac: MacAddress, *, timeout_s: float = 10.0) -> Link:
        """Return the link that has an ENI's MAC, waiting for it to be plugged in.

        A veth of ours never has an ENI's MAC, but a bridge or VLAN above the ENI may: only links
        without a kind, or plain veths as the lab has them, count. Raises TransientError (code
        ENODEV) after `timeout_s` seconds.
        """
        with open_monitor(Watched.LINKS) as monitor:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._link_by_mac(mac, monitor)
            except TimeoutError as error:
                raise TransientError(
                    f"no link has MAC {mac} after {timeout_s:g} s; is the ENI attached?",
                    code="ENODEV",
                ) from error

    async def _link_by_mac(self, mac: MacAddress, monitor: Monitor) -> Link:
        # Subscribed already: a link that comes after this look is told.
        found = _with_mac(await self.links(), mac)
        events = monitor.events()
        while found is None:
            event = await anext(events)
            if isinstance(event, EventsLost):
                found = _with_mac(await self.links(), mac)
            elif event.link is not None and not event.is_gone:
                found = _with_mac((event.link,), mac)
        return found

    async def uplink(self, family: Family) -> Uplink | None:
        """Return the link and address with which the node reaches the world; None without one."""
        return await self._workers.run(partial(read_uplink, family))

    async def path_mtu(self, family: Family) -> int | None:
        """Return the largest packet in bytes that gets to the node's gateway; None without one.

        What the link says, where the gateway answers no echo at all or none may be sent.
        """
        return await self._workers.run(partial(path_mtu.read_path_mtu, family))

    async def ensure_table(self, table: OwnedTable) -> bool:
        """Make a table of nftables as defined; return whether something was to be done."""
        return await self._workers.run(table.ensure)

    async def translates_addresses(self) -> bool:
        """Return whether somebody translates destinations of packets that come to the node."""
        return await self._workers.run(translation.translates_destinations)

    async def is_as_made(self, table: OwnedTable) -> bool:
        """Return whether a table of nftables is as it was made."""
        return await self._workers.run(table.is_as_made)

    async def count_connections(self, addresses: Collection[IPAddress]) -> int | None:
        """Return how many tracked connections involve `addresses`; None without conntrack."""
        return await self._workers.run(partial(conntrack.count, addresses))

    async def forget_connections(self, addresses: Collection[IPAddress]) -> int | None:
        """Delete the tracked connections that involve `addresses`; None without conntrack."""
        return await self._workers.run(partial(conntrack.forget, addresses))

    @property
    def datapath(self) -> DataPath | None:
        """Return the data path in eBPF; None where the node has none."""
        return self._traffic.datapath

    async def open_datapath(
        self,
        pins: Pins,
        sizes: Mapping[str, int],
        *,
        layout: int = LAYOUT,
        path: Path = OBJECT,
    ) -> DataPath:
        """Load the data path in eBPF: from now on its objects can be put, and are read back.

        Takes 50 to 300 ms, most of it the verifier's. Raises UsageError with what is missing.
        """
        opening = partial(open_datapath, pins, sizes=sizes, layout=layout, path=path)
        opened = await self._workers.run(opening)
        self._traffic.datapath = opened
        return opened

    async def enrol(self, states: Iterable[AttachmentState]) -> int:
        """Have the data path know the pods whose links are there, and see their packets.

        Return how many they are.
        """
        return await self._run(partial(enrolment.enrol, tuple(states)))

    async def tell_own_addresses(self, addresses: Collection[IPAddress]) -> None:
        """Have the data path leave what is for these addresses, the node's, to its stack."""
        if self._traffic.datapath is not None:
            await self._workers.run(partial(self._traffic.datapath.know_node, addresses))

    async def settle_datapath(self) -> None:
        """Pin the maps that the programs have, now that all links have these programs."""
        if self._traffic.datapath is not None:
            await self._workers.run(self._traffic.datapath.object.settle)

    async def tidy_datapath(
        self, numbers: Collection[int], addresses: Collection[IPAddress]
    ) -> int:
        """Have the data path know no endpoints but `numbers`, and `addresses` as the node's."""
        return await self._run(partial(enrolment.tidy, numbers, addresses))

    async def serve_sockets(
        self, datapath: DataPath, pins: Pins, cgroup: Path | None
    ) -> NodeSockets:
        """Have the node's processes reach services at their sockets (some 40 ms).

        Raises VpcError where the kernel or the cgroup does not allow it.
        """
        return await self._workers.run(partial(serve_sockets, datapath.object.maps, pins, cgroup))

    async def end_sockets(self, served: NodeSockets, gone: Collection[int]) -> int:
        """End the node's sockets that are connected to backends that are gone; return how many."""
        return await self._workers.run(partial(served.end_those_with, gone))

    async def remove_datapath(self, pins: Pins, pods: Iterable[Netns] = ()) -> int:
        """Take all of a data path in eBPF away; return how many links had programs of it.

        `pods` are the paths of namespaces that may have some, too.
        """

        def work(session: Session) -> int:
            inside = 0
            for one in pods if pins.layouts() else ():  # pins go last
                with suppress(VpcError):  # the namespace is gone, and its links with it
                    inside += len(remove_programs(session.namespace(one).sock))
            return inside + remove_datapath(session.namespace(NODE).sock, pins)

        return await self._run(work)

    async def ipvlan_lacks(self) -> str:
        """Return why this kernel makes no ipvlan links; empty where it does (some 30 ms)."""
        return await self._workers.run(ipvlan_lacks)

    async def vlan_lacks(self) -> str:
        """Return why this kernel makes no VLAN devices; empty where it does (some 30 ms)."""
        return await self._workers.run(vlan_lacks)

    async def limit_support(self) -> LimitSupport:
        """Return by what this kernel can hold pods to their limits (some 15 ms)."""
        return await self._workers.run(read_limit_support)


def _with_mac(links: Iterable[Link], mac: MacAddress) -> Link | None:
    plain = (one for one in links if one.kind in ("", "veth"))
    return next((one for one in plain if one.mac == mac), None)


@asynccontextmanager
async def open_kernel() -> AsyncIterator[Kernel]:
    """Open the kernel for the block. Doomed links that a crash left are deleted at once."""
    workers = Workers()
    try:
        async with Reaper(workers) as reaper:
            yield Kernel(workers, reaper)
    finally:
        workers.close()
