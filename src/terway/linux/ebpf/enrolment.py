"""How do running pods get the programs of a terwayd that has just started? All maps, then links.

    every endpoint into the maps ─► then each link's filters ─► then inside pods

Until its link's turn, a pod's packets go as they went: by the programs of the last terwayd, or by
the node's stack. Blocking; for workers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.hooks import POD_HOOKS, put_filters
from terway.linux.netlink import link
from terway.linux.netlink.socket import RouteSocket, send_all
from terway.linux.session import Session
from terway.model.address import IPAddress
from terway.model.endpoint import EndpointKind
from terway.model.errors import ConflictError
from terway.model.network import NODE, AttachmentState
from terway.model.programs import PodPrograms

_AT_ONCE = 32  # links in one send: the kernel answers each of a hundred messages


def enrol(states: Iterable[AttachmentState], session: Session) -> int:
    """Have the pods known whose links are there, and put programs at those links.

    Return how many there are. What is inside pods is left to `mend`.
    """
    sock = session.namespace(NODE).sock
    datapath = session.traffic.datapath
    if datapath is None:
        return 0
    found = tuple(_there(states, session, sock))
    for wanted, ifindex in found:
        datapath.enrol(wanted, ifindex)
    own = iter([i for one, i in found if one.endpoint.kind is not EndpointKind.IPVLAN])
    while some := tuple(islice(own, _AT_ONCE)):
        _put(sock, datapath, some)
    return len(found)


def _put(sock: RouteSocket, datapath: DataPath, ifindexes: tuple[int, ...]) -> None:
    """Put programs at links; one that went meanwhile keeps no other from its own."""
    programs = datapath.object.programs
    try:
        send_all(sock, (one for i in ifindexes for one in put_filters(i, programs, POD_HOOKS)))
    except ConflictError:
        for ifindex in ifindexes:
            with suppress(ConflictError):
                send_all(sock, put_filters(ifindex, programs, POD_HOOKS))


def _there(
    states: Iterable[AttachmentState], session: Session, sock: RouteSocket
) -> Iterator[tuple[PodPrograms, int]]:
    links = {one.name: one for one in sock.query(link.all_links())}
    for state in states:
        for wanted in state.node:
            if not isinstance(wanted, PodPrograms) or wanted.link not in links:
                continue
            there = links[wanted.link]
            if there.alias in (state.alias, "") or wanted.endpoint.kind is EndpointKind.IPVLAN:
                yield _as_it_is(wanted, session, sock, there.ifindex), there.ifindex


def _as_it_is(
    wanted: PodPrograms, session: Session, sock: RouteSocket, ifindex: int
) -> PodPrograms:
    """Return `wanted` with the MAC that the pod's end has, as its guard knows it.

    A later plugin of the chain may have given it another than was planned.
    """
    guard = session.traffic.guards.read(sock, wanted.link, ifindex)
    if guard is None:
        return wanted
    return replace(wanted, endpoint=replace(wanted.endpoint, pod_mac=guard.mac))


def tidy(numbers: Collection[int], addresses: Collection[IPAddress], session: Session) -> int:
    """Forget the endpoints but `numbers`, and links that are gone; know the node's addresses.

    Return how many entries were nobody's.
    """
    datapath = session.traffic.datapath
    if datapath is None:
        return 0
    links = {one.ifindex for one in session.namespace(NODE).sock.query(link.all_links())}
    datapath.know_node(addresses)
    return datapath.forget_others(numbers, links)
