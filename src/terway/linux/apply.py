"""How operations become netlink messages and sysctl writes. Blocking; for workers.

One pod's plan is three or four sends: operations on one namespace are gathered into batches, cut
where one needs what another made (a link's ifindex, its sysctl files).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import assert_never

from terway.linux.netlink import address, link, neighbour, route, rule
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import send_all
from terway.linux.netns import OWN_NETNS, open_netns
from terway.linux.session import Namespace, Session
from terway.model.errors import ConflictError, TransientError
from terway.model.network import (
    NODE,
    Birth,
    CreateIpvlan,
    CreateVeth,
    CreateVlan,
    DeleteLink,
    LinkAddress,
    LinkSettings,
    MoveLink,
    Neighbour,
    Netns,
    NetObject,
    Operation,
    Put,
    Remove,
    RenameLink,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import TrafficObject

REAPED_GROUP = 0x7E2A
"""The link group of the doomed: whatever is in it is deleted with the next flush."""

_USABLE_WITHIN_S = 5.0  # the queue is the machine's, and waits for namespaces that end
_POLL_S = 0.0001

_OnLink = LinkAddress | Route | Neighbour | TrafficObject


def apply(operations: Sequence[Operation], session: Session) -> None:
    """Carry out `operations` in order; raises the first error, and what follows is left undone.

    Every operation is idempotent, so a plan that failed half-way can be applied again, or planned
    anew from what is there now.
    """
    writers: dict[Netns, _Writer] = {}
    for netns, run in groupby(operations, key=_where):
        if netns not in writers:
            writers[netns] = _Writer(session.namespace(netns), session)
        writers[netns].apply(run)
    for writer in writers.values():
        writer.wait_until_usable()


def _where(operation: Operation) -> Netns:
    match operation:
        case Put(netns=netns) | Remove(netns=netns) | RenameLink(netns=netns):
            return netns
        case MoveLink(source=source):
            return source
        case DeleteLink(netns=netns):
            return netns
        case CreateVeth() | CreateIpvlan() | CreateVlan():
            return NODE


class _Writer:
    """Writes to one namespace; holds the requests gathered for it so far."""

    def __init__(self, namespace: Namespace, session: Session) -> None:
        self._session = session
        self._namespace = namespace
        self._socket = namespace.sock
        self._batch: list[Request] = []
        self._new_addresses: list[LinkAddress] = []

    def apply(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            match operation:
                case CreateVeth():
                    self._create_veth(operation)
                case CreateIpvlan():
                    self._create_ipvlan(operation)
                case CreateVlan():
                    self._create_vlan(operation)
                case DeleteLink():
                    self._delete_link(operation)
                case RenameLink():
                    self._rename(operation)
                case MoveLink():
                    self._move(operation)
                case Put(object=wanted):
                    self._put(wanted)
                case Remove(object=unwanted):
                    self._remove(unwanted)
                case _:
                    assert_never(operation)
        self._flush()

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        send_all(self._socket, batch)

    def _create_veth(self, wanted: CreateVeth) -> None:
        self._flush()
        pod = self._birthplace(wanted)
        assert pod.fd is not None  # no veth has both its ends on the node
        made = link.create_veth(wanted.host, wanted.peer, peer_netns_fd=pod.fd)
        self._socket.request(made)
        self._namespace.forget(wanted.host.name)

    def _create_ipvlan(self, wanted: CreateIpvlan) -> None:
        self._flush()
        place, name = self._birthplace(wanted), wanted.peer.name
        if place.index_of(name) is not None:
            raise ConflictError(f"link add {name} type ipvlan: EEXIST", code="EEXIST")
        is_nodes = wanted.netns == NODE
        first_name = name if is_nodes else link.name_not_of_ours(name)
        made = link.create_ipvlan(
            replace(wanted.peer, name=first_name),
            self._index_of(wanted.parent),
            netns_fd=place.fd,
        )
        self._socket.request(made)
        _give_name(place, first_name, name)

    def _create_vlan(self, wanted: CreateVlan) -> None:
        self._flush()
        place, name = self._session.namespace(wanted.netns), wanted.link.name
        if place.index_of(name) is not None:
            raise ConflictError(f"link add {name} type vlan: EEXIST", code="EEXIST")
        first_name = link.name_not_of_ours(name)
        made = link.create_vlan(
            replace(wanted.link, name=first_name),
            self._index_of(wanted.parent),
            wanted.vlan_id,
            netns_fd=place.fd,
        )
        self._socket.request(made)
        _give_name(place, first_name, name)

    def _birthplace(self, wanted: Birth) -> Namespace:
        """Return where a pod's link is to be; raises ConflictError where that is another's."""
        place = self._session.namespace(wanted.netns)
        if wanted.netns_id not in ("", place.identity):
            text = f"network namespace {wanted.netns!r} is another one by now"
            raise ConflictError(text, code="ESTALE")
        return place

    def _delete_link(self, unwanted: DeleteLink) -> None:
        self._flush()
        if unwanted.now or unwanted.netns != NODE:
            self._socket.request(link.delete(unwanted.name))
        else:
            self._socket.request(link.set_group(unwanted.name, REAPED_GROUP))
        self._namespace.forget(unwanted.name)

    def _rename(self, wanted: RenameLink) -> None:
        self._flush()
        self._socket.request(link.rename(self._index_of(wanted.name), wanted.new_name))
        self._namespace.forget(wanted.name)

    def _move(self, wanted: MoveLink) -> None:
        self._flush()
        with open_netns(wanted.target or OWN_NETNS) as target:
            self._socket.request(link.move(wanted.name, target.fd))
        self._namespace.forget(wanted.name)

    def _put(self, wanted: NetObject) -> None:
        match wanted:
            case Sysctl():
                self._flush()  # its file may belong to a link that is in the batch
                self._namespace.ensure(wanted)
            case LinkSettings():
                self._batch.append(link.change(wanted))
                if not wanted.has_arp:
                    self._batch.append(link.without_arp(wanted.name))
            case LinkAddress():
                self._batch.append(address.put(wanted, self._index_of(wanted.link)))
                self._new_addresses.append(wanted)
            case Route():
                self._batch.append(route.put(wanted, self._index_of(wanted.link)))
            case Neighbour():
                self._batch.append(neighbour.put(wanted, self._index_of(wanted.link)))
            case RoutingRule():
                self._batch.append(rule.put(wanted))
            case TrafficObject(link=name):
                index = self._index_of(name)
                self._batch += self._namespace.traffic.puts(self._socket, wanted, index)
            case _:
                assert_never(wanted)

    def _remove(self, unwanted: NetObject) -> None:
        match unwanted:
            case LinkSettings() | Sysctl():
                return  # settings have no absence
            case RoutingRule():
                self._batch.append(rule.remove(unwanted))
            case LinkAddress() | Route() | Neighbour() | TrafficObject():
                self._remove_from_link(unwanted)
            case _:
                assert_never(unwanted)

    def _remove_from_link(self, unwanted: _OnLink) -> None:
        index = self._namespace.index_of(unwanted.link)
        if index is None:
            if isinstance(unwanted, TrafficObject):
                self._namespace.traffic.forget(unwanted)
            return  # it went with its link
        match unwanted:
            case LinkAddress():
                self._batch.append(address.remove(unwanted, index))
            case Route():
                self._batch.append(route.remove(unwanted, index))
            case Neighbour():
                self._batch.append(neighbour.remove(unwanted, index))
            case TrafficObject():
                self._batch += self._namespace.traffic.removals(self._socket, unwanted, index)
            case _:
                assert_never(unwanted)

    def _index_of(self, name: str) -> int:
        # Asking in the middle of a batch is right: nothing in a batch makes or renames a link.
        found = self._namespace.index_of(name)
        if found is None:
            raise ConflictError(f"there is no link {name!r}", code="ENODEV")
        return found

    def wait_until_usable(self) -> None:
        """Wait for the kernel to take packets for all new addresses as its own.

        It answers RTM_NEWADDR for IPv6 before that: the local route is made by a work queue
        (addrconf_dad_work), without duplicate detection too, some 200 us later.
        """
        for new in self._new_addresses:
            if new.address.version == 6:
                self._wait_for(new)

    def _wait_for(self, new: LinkAddress) -> None:
        query = route.is_local(new.address.ip, self._index_of(new.link))
        deadline = time.monotonic() + _USABLE_WITHIN_S
        while not self._socket.first(query):
            if not self._has_carrier(new.link):
                return  # the kernel goes on when the link is ready
            if time.monotonic() > deadline:
                what = f"address {new.address} dev {new.link}"
                raise TransientError(f"{what} is not usable after {_USABLE_WITHIN_S:g} s")
            time.sleep(_POLL_S)

    def _has_carrier(self, name: str) -> bool:
        found = self._socket.first(link.by_name(name))
        return found is not None and found.is_up and found.has_carrier


def _give_name(place: Namespace, first_name: str, name: str) -> None:
    """Have a new link of `place` called `name`; it was made as `first_name`."""
    place.forget(name)
    if place.index_of(name) is None:
        number = place.index_of(first_name)
        assert number is not None  # it was just made
        place.sock.request(link.rename(number, name))
        place.forget(first_name)
