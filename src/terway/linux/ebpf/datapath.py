"""The data path of one node: its programs at links, and its endpoints in maps. Blocking.

    endpoints[number], links[ifindex], locals[address] ─ written ─► filters ─► the pod's end is up
    locals ─► links ─► endpoints                       ─ removed, in that order

`locals` goes first, so that nobody is led to an endpoint that is half gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from terway.linux.ebpf.contract import LOCAL_NODE
from terway.linux.ebpf.entries import (
    pack_address_of,
    pack_endpoint,
    pack_number,
    unpack_address_of,
    unpack_endpoint,
    unpack_number,
)
from terway.linux.ebpf.hooks import (
    INNER_HOOKS,
    POD_HOOKS,
    Edges,
    has_filters,
    put_filters,
    put_stamped,
    read_stamp,
    remove_before,
    remove_filters,
)
from terway.linux.ebpf.knowledge import Knowledge
from terway.linux.ebpf.programs import DataPathObject
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.model.address import IPAddress, IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.errors import CapacityError, ConflictError
from terway.model.network import Link
from terway.model.programs import Edge, EdgePrograms, InnerPrograms, NodeKnowledge, PodPrograms

_LEGS = ("veth1",)  # the name of the second leg, of all pods with an ENI of their own

OfDataPath: TypeAlias = PodPrograms | InnerPrograms | EdgePrograms | NodeKnowledge


class DataPath:
    """The loaded data path and what it is told. One for a process; used by many workers at once."""

    def __init__(self, loaded: DataPathObject, *, has_tcx: bool) -> None:
        self.object = loaded
        self.knowledge = Knowledge(loaded.maps)
        self.edges = Edges(loaded.programs, loaded.pins.links, has_tcx=has_tcx)
        self._endpoints = loaded.maps["endpoints"]
        self._links = loaded.maps["links"]
        self._locals = loaded.maps["locals"]

    def puts(self, sock: RouteSocket, wanted: OfDataPath, ifindex: int) -> tuple[Request, ...]:
        """Write what `wanted` has in maps; return the messages that put its programs."""
        match wanted:
            case PodPrograms():
                return self._put_pod(wanted, ifindex)
            case InnerPrograms():
                return self._put_inner(sock, wanted, ifindex)
            case EdgePrograms(edge=edge):
                return self.edges.put(sock, ifindex, edge)
            case NodeKnowledge():
                self.knowledge.put(wanted, ifindex, sock)
                return ()

    def stand_behind_tags(self, sock: RouteSocket, ifindex: int) -> tuple[Request, ...]:
        """Have the programs of an ENI that is a trunk by now see what its tags came off."""
        if self.edges.has(sock, ifindex, Edge.ENI):
            return ()
        return self.edges.put(sock, ifindex, Edge.ENI)

    def removals(self, unwanted: OfDataPath, ifindex: int | None) -> tuple[Request, ...]:
        """Forget what `unwanted` has in maps; return the messages that remove its programs.

        `ifindex` None: its link is gone already, and its programs with it.
        """
        match unwanted:
            case PodPrograms(endpoint=endpoint):
                # Its filters go with its link; until then they let nothing pass.
                self.forget(endpoint.number, endpoint.addresses, ifindex)
                return ()
            case InnerPrograms():
                return () if ifindex is None else remove_filters(ifindex)
            case EdgePrograms():
                return () if ifindex is None else self.edges.remove(ifindex)
            case NodeKnowledge():
                return ()  # as long as there are programs, they know the node

    def enrol(self, wanted: PodPrograms, ifindex: int) -> None:
        """Have an endpoint known, before any program of ours sees its packets.

        Raises CapacityError where its number is another's: the runtime tries with another sandbox,
        which has another.
        """
        endpoint = wanted.endpoint
        number = pack_number(endpoint.number)
        known = self._known(endpoint)
        leg = 0 if known is None else known.leg
        self._endpoints.update(number, pack_endpoint(replace(endpoint, leg=leg), ifindex))
        if endpoint.kind is not EndpointKind.IPVLAN:
            self._links.update(pack_number(ifindex), number)
        for address in endpoint.addresses:
            self._locals.update(pack_address_of(address), number)

    def _known(self, endpoint: Endpoint) -> Endpoint | None:
        number = pack_number(endpoint.number)
        value = self._endpoints.lookup(number)
        if value is None:
            return None
        known, _ = unpack_endpoint(endpoint.number, value)
        others = (one for one in known.addresses if one not in tuple(endpoint.addresses))
        if any(self._is_local(one, number) for one in others):
            held = ", ".join(map(str, known.addresses))
            raise CapacityError(f"endpoint number {endpoint.number} is that of {held}")
        return known

    def forget(self, number: EndpointNumber, addresses: IPPair, ifindex: int | None) -> None:
        """Forget an endpoint; what is another's by now stays."""
        packed = pack_number(number)
        for address in addresses:
            key = pack_address_of(address)
            if self._locals.lookup(key) == packed:
                self._locals.delete(key)
        link = b"" if ifindex is None else pack_number(ifindex)
        if link and self._links.lookup(link) == packed:
            self._links.delete(link)
        self._endpoints.delete(packed)

    def read_pod(self, sock: RouteSocket, found: Link) -> PodPrograms | None:
        """Return the endpoint of a host link; None where it has none, or other programs."""
        if not has_filters(sock, found.ifindex, self.object.programs, POD_HOOKS):
            return None
        number = self._links.lookup(pack_number(found.ifindex))
        return None if number is None else self._read_endpoint(number, found.name, found.ifindex)

    def read_child(self, sock: RouteSocket, wanted: PodPrograms) -> PodPrograms | None:
        """Return the endpoint of an ipvlan pod, on its host child; None where `wanted` is none."""
        ifindex = sock.index_of(wanted.link)
        if wanted.endpoint.kind is not EndpointKind.IPVLAN or ifindex is None:
            return None
        return self._read_endpoint(pack_number(wanted.endpoint.number), wanted.link, ifindex)

    def _read_endpoint(self, number: bytes, name: str, ifindex: int) -> PodPrograms | None:
        value = self._endpoints.lookup(number)
        if value is None:
            return None
        endpoint, link = unpack_endpoint(unpack_number(number), value)
        theirs = (one for one in endpoint.addresses if not self._is_local(one, number))
        if link != ifindex or any(True for _ in theirs):
            return None
        return PodPrograms(link=name, endpoint=replace(endpoint, leg=0))

    def _is_local(self, address: IPAddress, number: bytes) -> bool:
        return self._locals.lookup(pack_address_of(address)) == number

    def read_inner(self, sock: RouteSocket, found: Link) -> InnerPrograms | None:
        """Return the programs of a pod's own device; None where they are not as they should be."""
        number = read_stamp(sock, found.ifindex)
        if number is None or not self._are_first(sock, found.ifindex):
            return None
        leg = self._leg_of(number)
        named = next((name for name in _LEGS if leg and sock.index_of(name) == leg), "")
        return InnerPrograms(link=found.name, number=number, leg=named)

    def _are_first(self, sock: RouteSocket, ifindex: int) -> bool:
        """Return whether our programs see all packets of a pod's own device."""
        is_there = has_filters(sock, ifindex, self.object.programs, INNER_HOOKS)
        return is_there and not remove_before(sock, ifindex)

    def read_node(
        self, sock: RouteSocket, links: Iterable[Link]
    ) -> Iterator[EdgePrograms | NodeKnowledge]:
        """Yield what is known of the node, and the edges among `links` that have our programs."""
        uplink = self.knowledge.read_settings()["uplink"]
        for one in links:
            edge = Edge.UPLINK if one.ifindex == uplink else Edge.ENI
            if self.edges.has(sock, one.ifindex, edge):
                yield EdgePrograms(link=one.name, edge=edge)
            known = self.knowledge.read(one) if edge is Edge.UPLINK else None
            if known is not None:
                yield known

    def forget_others(self, numbers: Collection[int], ifindexes: Collection[int]) -> int:
        """Forget all endpoints but `numbers` and all links but `ifindexes`; return how many."""
        gone = 0
        for key, value in self._locals.items().items():
            number = unpack_number(value)
            if number != LOCAL_NODE and number not in numbers:
                gone += self._locals.delete(key)
        for key in list(self._links.keys()):
            if unpack_number(key) not in ifindexes:
                gone += self._links.delete(key)
        for key in list(self._endpoints.keys()):
            if unpack_number(key) not in numbers:
                gone += self._endpoints.delete(key)
        self.edges.forget_gone(frozenset(ifindexes))
        return gone

    def know_node(self, addresses: Collection[IPAddress]) -> None:
        """Have these, and none else, known as the node's own addresses."""
        node = pack_number(LOCAL_NODE)
        for address in addresses:
            self._locals.update(pack_address_of(address), node)
        for key, value in self._locals.items().items():
            if value == node and unpack_address_of(key) not in addresses:
                self._locals.delete(key)

    def _put_pod(self, wanted: PodPrograms, ifindex: int) -> tuple[Request, ...]:
        self.enrol(wanted, ifindex)
        if wanted.endpoint.kind is EndpointKind.IPVLAN:
            return ()
        return put_filters(ifindex, self.object.programs, POD_HOOKS)

    def _put_inner(
        self, sock: RouteSocket, wanted: InnerPrograms, ifindex: int
    ) -> tuple[Request, ...]:
        if wanted.leg:
            leg = sock.index_of(wanted.leg)
            if leg is None:
                raise ConflictError(f"there is no link {wanted.leg!r}", code="ENODEV")
            self._set_leg(wanted.number, leg)
        puts = put_stamped(sock, ifindex, self.object.programs, wanted.number)
        return (*puts, *remove_before(sock, ifindex))

    def _set_leg(self, number: EndpointNumber, leg: int) -> None:
        key = pack_number(number)
        value = self._endpoints.lookup(key)
        if value is None:
            raise ConflictError(f"endpoint {number} is not known yet", code="ENOENT")
        endpoint, link = unpack_endpoint(number, value)
        self._endpoints.update(key, pack_endpoint(replace(endpoint, leg=leg), link))

    def _leg_of(self, number: EndpointNumber) -> int:
        value = self._endpoints.lookup(pack_number(number))
        return 0 if value is None else unpack_endpoint(number, value)[0].leg
