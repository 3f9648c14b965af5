"""A kernel in memory, for tests of what stands on `Kernel`: same methods, no root, no waiting.

It passes the contract suite of the real one (tests/contract/linux/test_kernel_port.py).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import assert_never

from terway.linux.kernel import Planner
from terway.linux.memory_sysctl import Settings
from terway.linux.nftables import OwnedTable
from terway.linux.uplink import Uplink
from terway.model.address import Family, IPAddress
from terway.model.device import Device, DeviceState
from terway.model.errors import ConflictError, TransientError
from terway.model.ids import MacAddress
from terway.model.network import (
    MAIN_TABLE,
    NODE,
    AttachmentState,
    Birth,
    CreateIpvlan,
    CreateVeth,
    CreateVlan,
    DeleteLink,
    Link,
    LinkAddress,
    LinkSettings,
    MoveLink,
    Neighbour,
    Netns,
    NetObject,
    NodeState,
    Operation,
    Put,
    Remove,
    RenameLink,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import PriorityClass, SharedLimit, TrafficObject, TrunkMember

_Placed = LinkAddress | Route | RoutingRule | Neighbour | TrafficObject


@dataclass(slots=True, kw_only=True)
class _Namespace:
    """The network stack of one namespace."""

    identity: str = ""
    links: dict[str, Link] = field(default_factory=dict)
    objects: dict[Hashable, _Placed] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)

    def add_link(self, link: Link) -> None:
        if link.name in self.links:
            raise ConflictError(f"link add {link.name}: EEXIST", code="EEXIST")
        self.links[link.name] = link
        self.settings.inherit(link.name)

    def drop_link(self, name: str) -> Link | None:
        gone = self.links.pop(name, None)
        self.settings.forget(name)
        on_it = [
            place
            for place, one in self.objects.items()
            if not isinstance(one, RoutingRule) and one.link == name
        ]
        for place in on_it:
            del self.objects[place]
        return gone

    def rename(self, name: str, new_name: str) -> None:
        if new_name in self.links:
            raise ConflictError(f"link set {name} name {new_name}: EEXIST", code="EEXIST")
        link = self._link(name)
        self.settings.rename(name, new_name)
        self.drop_link(name)
        self.links[new_name] = replace(link, name=new_name)

    def put(self, wanted: NetObject) -> None:
        match wanted:
            case Sysctl(path=path, value=value):
                self.settings.put(path, value, self.links)
            case LinkSettings():
                self.links[wanted.name] = _changed(self._link(wanted.name), wanted)
            case RoutingRule():
                self.objects[wanted] = wanted
            case LinkAddress() | Route() | Neighbour() | TrafficObject():
                self._link(wanted.link)
                self.objects[_place_of(wanted)] = wanted
            case _:
                assert_never(wanted)

    def remove(self, unwanted: NetObject) -> None:
        match unwanted:
            case Sysctl() | LinkSettings():
                return
            case LinkAddress() | Route() | Neighbour() | RoutingRule() | TrafficObject():
                self.objects.pop(_place_of(unwanted), None)
            case _:
                assert_never(unwanted)

    def _link(self, name: str) -> Link:
        if name not in self.links:
            raise ConflictError(f"there is no link {name!r}", code="ENODEV")
        return self.links[name]

    def read(self, wanted: Iterable[NetObject]) -> tuple[NetObject, ...]:
        settings = self.settings.read(one.path for one in wanted if isinstance(one, Sysctl))
        links = tuple(one.settings for one in self.links.values())
        return (*links, *self.objects.values(), *settings)


def _changed(link: Link, wanted: LinkSettings) -> Link:
    return replace(
        link,
        is_up=wanted.is_up,
        mac=wanted.mac or link.mac,
        mtu_bytes=wanted.mtu_bytes or link.mtu_bytes,
        alias=wanted.alias or link.alias,
        has_arp=link.has_arp and wanted.has_arp,
    )


def _place_of(one: _Placed) -> Hashable:
    match one:
        case Route():
            beside = one.destination.version == 6 and one.gateway is None
            return (one.table, one.destination, one.metric, one.link if beside else "")
        case Neighbour():
            return (one.link, one.address)
        case TrafficObject():
            return _place_of_traffic(one)
        case LinkAddress() | RoutingRule():
            return one
        case _:
            assert_never(one)


class MemoryKernel:
    """What `Kernel` is, in a dictionary. Namespaces and ENIs come and go by plain methods."""

    def __init__(self) -> None:
        self.tables: set[OwnedTable] = set()
        self.uplinks: dict[Family, Uplink] = {}
        self.connections: list[tuple[IPAddress, IPAddress]] = []
        self.translates = False
        self._ifindex = 0
        self._identities = count(1)
        self._namespaces: dict[Netns, _Namespace] = {}
        self.create_netns(NODE)

    def create_netns(self, path: str) -> None:
        """Make a namespace with a loopback link that is down."""
        lo = LinkSettings(name="lo", is_up=path == NODE)
        stack = _Namespace(identity=f"cookie {next(self._identities)}")
        self._namespaces[Netns(path)] = stack
        stack.add_link(self._born(lo, kind=""))

    def delete_netns(self, path: str) -> None:
        """End a namespace; veths that have an end in it are gone."""
        gone = self._namespaces.pop(Netns(path), None)
        peers = set() if gone is None else {one.peer_ifindex for one in gone.links.values()}
        node = self._namespaces[NODE]
        for name in [one.name for one in node.links.values() if one.ifindex in peers]:
            node.drop_link(name)
        for link in () if gone is None else gone.links.values():
            if not link.kind and link.name != "lo":
                self._fall_back(link)

    def _fall_back(self, device: Link) -> None:
        """Give the node a device that was in a namespace that has ended (default_device_exit_net).

        It is down, and has another name if its own is in use.
        """
        node = self._namespaces[NODE]
        spare = (f"dev{number}" for number in count())
        names = (name for name in chain([device.name], spare) if name not in node.links)
        node.add_link(replace(device, name=next(names), is_up=False))

    def plug(self, name: str, mac: MacAddress) -> Link:
        """Plug in an ENI, as the hypervisor does: down, without an address."""
        link = self._born(LinkSettings(name=name, mac=mac, is_up=False), kind="")
        self._namespaces[NODE].add_link(link)
        return link

    def unplug(self, name: str, *, netns: str = NODE) -> None:
        """Unplug an ENI, on the node or in the pod that has its device."""
        gone = self._namespaces[Netns(netns)].drop_link(name)
        if gone is not None:
            self._drop_with(gone)

    def pull(self, mac: MacAddress) -> None:
        """Unplug an ENI, wherever its device is."""
        for stack in self._namespaces.values():
            for name in [one.name for one in stack.links.values() if _is_device(one, mac)]:
                stack.drop_link(name)

    def _born(self, settings: LinkSettings, *, kind: str) -> Link:
        self._ifindex += 1
        return Link(
            ifindex=self._ifindex,
            name=settings.name,
            mac=settings.mac,
            mtu_bytes=settings.mtu_bytes or 1500,
            is_up=settings.is_up,
            kind=kind,
            alias=settings.alias,
            group=settings.group,
        )

    async def apply(self, operations: Sequence[Operation]) -> None:
        """See `Kernel.apply`."""
        for operation in operations:
            match operation:
                case CreateVeth():
                    self._create_veth(operation)
                case CreateIpvlan():
                    self._create_ipvlan(operation)
                case CreateVlan():
                    self._create_vlan(operation)
                case DeleteLink(name=name, netns=netns):
                    self._delete_link(name, self._namespace(netns))
                case RenameLink(netns=netns, name=name, new_name=new_name):
                    self._namespace(netns).rename(name, new_name)
                case MoveLink(name=name, source=source, target=target):
                    self._move(name, self._namespace(source), self._namespace(target))
                case Put(netns=netns, object=wanted):
                    self._namespace(netns).put(wanted)
                case Remove(netns=netns, object=unwanted):
                    self._namespace(netns).remove(unwanted)
                case _:
                    assert_never(operation)

    def _namespace(self, netns: Netns) -> _Namespace:
        if netns not in self._namespaces:
            raise ConflictError(f"open network namespace {netns!r}: gone", code="ENOENT")
        return self._namespaces[netns]

    def _create_veth(self, wanted: CreateVeth) -> None:
        host = self._born(wanted.host, kind="veth")
        peer = self._born(replace(wanted.peer, is_up=False), kind="veth")
        node, pod = self._namespaces[NODE], self._namespace(wanted.netns)
        if wanted.netns_id not in ("", pod.identity):
            raise ConflictError(f"{wanted.netns!r} is another one by now", code="ESTALE")
        if wanted.peer.name in pod.links:
            raise ConflictError(f"link add {wanted.peer.name}: EEXIST", code="EEXIST")
        node.add_link(replace(host, peer_ifindex=peer.ifindex))
        pod.add_link(replace(peer, peer_ifindex=host.ifindex))

    def _create_ipvlan(self, wanted: CreateIpvlan) -> None:
        parent, place = (
            self._namespaces[NODE].links.get(wanted.parent),
            self._namespace(wanted.netns),
        )
        if parent is None:
            raise ConflictError(f"there is no link {wanted.parent!r}", code="ENODEV")
        if wanted.netns_id not in ("", place.identity):
            raise ConflictError(f"{wanted.netns!r} is another one by now", code="ESTALE")
        if wanted.peer.name in place.links:
            raise ConflictError(f"link add {wanted.peer.name}: EEXIST", code="EEXIST")
        child = self._born(replace(wanted.peer, is_up=False), kind="ipvlan")
        place.add_link(replace(child, mac=parent.mac, parent_ifindex=parent.ifindex))

    def _create_vlan(self, wanted: CreateVlan) -> None:
        parent = self._namespaces[NODE].links.get(wanted.parent)
        place = self._namespace(wanted.netns)
        if parent is None:
            raise ConflictError(f"there is no link {wanted.parent!r}", code="ENODEV")
        if wanted.link.name in place.links:
            raise ConflictError(f"link add {wanted.link.name}: EEXIST", code="EEXIST")
        device = self._born(replace(wanted.link, is_up=False), kind="vlan")
        place.add_link(replace(device, parent_ifindex=parent.ifindex))

    def _delete_link(self, name: str, place: _Namespace) -> None:
        gone = place.drop_link(name)
        if gone is not None:
            self._drop_with(gone)

    def _drop_with(self, gone: Link) -> None:
        """Drop what goes with a link: the other end of a veth, the children of an ENI."""
        for stack in self._namespaces.values():
            ends = [
                one.name
                for one in stack.links.values()
                if gone.ifindex in (one.peer_ifindex, one.parent_ifindex)
            ]
            for end in ends:
                stack.drop_link(end)

    def _move(self, name: str, source: _Namespace, target: _Namespace) -> None:
        if name in target.links:
            raise ConflictError(f"link set {name} netns: EEXIST", code="EEXIST")
        moved = source.drop_link(name)
        if moved is None:
            raise ConflictError(f"there is no link {name!r}", code="ENODEV")
        target.add_link(replace(moved, is_up=False))

    async def read_device(self, device: Device) -> DeviceState:
        """See `Kernel.read_device`."""
        node, pod = self._namespaces[NODE], self._namespaces.get(device.netns)
        if pod is None:
            return DeviceState(on_node=_device_in(node, device))
        return DeviceState(
            on_node=_device_in(node, device),
            in_pod=_device_in(pod, device),
            pod_links=tuple(pod.links),
            pod=pod.read(device.pod),
        )

    async def read_attachment(self, desired: AttachmentState) -> AttachmentState:
        """See `Kernel.read_attachment`."""
        birth, node = desired.birth, self._namespaces[NODE]
        pod = self._namespaces.get(birth.netns)
        host = node.links.get(birth.host.name)
        peer = None if pod is None else pod.links.get(birth.peer.name)
        holder, is_paired = self._ends(birth, host, peer)
        return replace(
            desired,
            alias="" if holder is None else holder.alias,
            is_paired=is_paired,
            node=tuple(one for one in node.read(desired.node) if _concerns(one, desired)),
            pod=None if pod is None else pod.read(desired.pod or ()),
            pod_ifindex=None if peer is None else peer.ifindex,
            netns_id="" if pod is None or desired.pod is None else pod.identity,
        )

    def _ends(self, birth: Birth, host: Link | None, peer: Link | None) -> tuple[Link | None, bool]:
        """Return which link has the alias, and whether the pod's is what it should be."""
        if isinstance(birth, CreateVeth):
            return host, host is not None and peer is not None and host.peer_ifindex == peer.ifindex
        parent = self._namespaces[NODE].links.get(birth.parent)
        if peer is None or peer.kind != "ipvlan":
            return None, False
        return peer, parent is not None and peer.parent_ifindex == parent.ifindex

    async def read_inside(self, desired: AttachmentState) -> AttachmentState:
        """See `Kernel.read_inside`."""
        actual = await self.read_attachment(desired)
        guarded = tuple(one for one in actual.node if isinstance(one, TrafficObject))
        return replace(actual, node=guarded)

    async def settings_differ(self, wanted: Sequence[Sysctl]) -> bool:
        """See `Kernel.settings_differ`."""
        known = self._namespaces[NODE].settings.values
        return any(known.get(one.path, one.value) != one.value for one in wanted)

    async def apply_and_read(
        self, operations: Sequence[Operation], desired: AttachmentState
    ) -> AttachmentState:
        """See `Kernel.apply_and_read`."""
        await self.apply(operations)
        return await self.read_attachment(desired)

    async def undo(
        self, desired: AttachmentState, plan: Planner, *, is_as_made: bool = True
    ) -> None:
        """See `Kernel.undo`."""
        actual = await self.read_attachment(desired)
        if is_as_made and actual.alias == desired.alias:
            actual = desired
        await self.apply(plan(desired, actual))

    async def read_node(self, sysctls: Iterable[Sysctl] = ()) -> NodeState:
        """See `Kernel.read_node`."""
        node = self._namespaces[NODE]
        return NodeState(links=tuple(node.links.values()), objects=node.read(sysctls))

    async def links(self) -> tuple[Link, ...]:
        """See `Kernel.links`."""
        return tuple(self._namespaces[NODE].links.values())

    def has_link(self, name: str, ifindex: int) -> bool:
        """See `Kernel.has_link`."""
        link = self._namespaces[NODE].links.get(name)
        return link is not None and link.ifindex == ifindex

    async def find_link(self, mac: MacAddress) -> Link | None:
        """See `Kernel.find_link`."""
        return next((link for link in await self.links() if link.mac == mac), None)

    async def forget_gone_links(self) -> None:
        """See `Kernel.forget_gone_links`."""

    async def forget_other_members(self, members: Collection[TrunkMember]) -> None:
        """See `Kernel.forget_other_members`."""

    async def link_by_mac(self, mac: MacAddress, *, timeout_s: float = 10.0) -> Link:
        """See `Kernel.link_by_mac`; does not wait."""
        found = await self.find_link(mac)
        if found is not None:
            return found
        raise TransientError(
            f"no link has MAC {mac} after {timeout_s:g} s; is the ENI attached?", code="ENODEV"
        )

    async def uplink(self, family: Family) -> Uplink | None:
        """See `Kernel.uplink`."""
        return self.uplinks.get(family)

    async def ensure_table(self, table: OwnedTable) -> bool:
        """See `Kernel.ensure_table`."""
        is_new = table not in self.tables
        self.tables.add(table)
        return is_new

    async def translates_addresses(self) -> bool:
        """See `Kernel.translates_addresses`."""
        return self.translates

    async def is_as_made(self, table: OwnedTable) -> bool:
        """See `Kernel.is_as_made`."""
        return table in self.tables

    async def count_connections(self, addresses: Collection[IPAddress]) -> int | None:
        """See `Kernel.count_connections`."""
        return sum(bool({*ends} & {*addresses}) for ends in self.connections)

    async def forget_connections(self, addresses: Collection[IPAddress]) -> int | None:
        """See `Kernel.forget_connections`."""
        known = len(self.connections)
        self.connections = [ends for ends in self.connections if not {*ends} & {*addresses}]
        return known - len(self.connections)


def _is_device(link: Link, mac: MacAddress) -> bool:
    return link.mac == mac and not link.kind


def _device_in(stack: _Namespace, device: Device) -> Link | None:
    links = stack.links.values()
    by_mac = (one for one in links if one.mac == device.mac)
    by_alias = (one for one in links if one.alias == device.alias)
    return next(by_mac, None) or next(by_alias, None)


def _place_of_traffic(one: TrafficObject) -> Hashable:
    match one:
        case PriorityClass():
            return (PriorityClass, one.link, one.source)
        case TrunkMember():
            return (TrunkMember, one.link, one.vlan_id)
        case SharedLimit():
            return (SharedLimit, one.link, one.direction)
        case _:
            return (type(one), one.link)


def _is_class_of(one: TrafficObject, owners: set[str]) -> bool:
    if isinstance(one, TrunkMember):
        return not owners.isdisjoint(map(str, one.addresses))
    return isinstance(one, PriorityClass) and str(one.source) in owners


def _concerns(one: NetObject, desired: AttachmentState) -> bool:
    own = {str(address) for address in desired.addresses}
    match one:
        case LinkSettings(name=name) | LinkAddress(link=name):
            return name == desired.birth.host.name and isinstance(desired.birth, CreateVeth)
        case Neighbour():
            return False
        case TrafficObject(link=name):
            return name == desired.birth.host.name or _is_class_of(one, own)
        case Route(destination=destination, table=table):
            exact = destination.prefixlen == destination.max_prefixlen
            return table == MAIN_TABLE and exact and str(destination.network_address) in own
        case RoutingRule(source=source, destination=target):
            return any(end and str(end.network_address) in own for end in (source, target))
        case Sysctl():
            return True
        case _:
            assert_never(one)
