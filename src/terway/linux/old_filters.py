"""The filters that upstream Terway left: on an ENI u32, with priorities that nobody else uses.

Source: upstream Terway, pkg/tc and plugin/datapath: 20000 takes the VLAN tag off what comes in for
pods of a trunk, 50001 and 50002 put it on what leaves, IPv4 and IPv6 apart. Its data path in eBPF
(Cilium's programs) stands on pods' links at 25000 or later. Blocking; for workers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from terway.linux.netlink.codec import Query, Request, attributes, text
from terway.linux.netlink.shown import filters_of
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netlink.traffic import RTM_DELTFILTER, RTM_GETTFILTER, Hook

PRIORITIES = frozenset({20000, 50001, 50002})
FIRST_OF_CILIUM = 25000

_TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
_TCA_KIND = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OldFilter:
    """All filters of one priority and protocol on a hook of a link."""

    ifindex: int
    hook: Hook
    priority: int
    protocol: int  # in network order, as the message has it


def read_old_filters(links: Iterable[int]) -> tuple[OldFilter, ...]:
    """Return what upstream left on the links with these numbers."""
    with open_route_socket() as sock:
        found = [one for ifindex in links for hook in Hook for one in _read(sock, ifindex, hook)]
    return tuple(dict.fromkeys(found))


def remove_old_filters(filters: Iterable[OldFilter]) -> None:
    """Remove filters; that they are not there is success."""
    with open_route_socket() as sock:
        for one in filters:
            sock.request(removal_of(one))


def links_with_programs(names: Iterable[str]) -> frozenset[str]:
    """Return the links, of those named, that have programs of upstream's data path in eBPF."""
    with open_route_socket() as sock:
        return frozenset(name for name in names if _has_programs(sock, name))


def _has_programs(sock: RouteSocket, name: str) -> bool:
    ifindex = sock.index_of(name)
    if ifindex is None:
        return False
    found = (one for hook in Hook for one in sock.query(filters_of(name, ifindex, hook.value)))
    return any(one.kind == "bpf" and one.priority >= FIRST_OF_CILIUM for one in found)


def _read(sock: RouteSocket, ifindex: int, hook: Hook) -> Iterator[OldFilter]:
    def decode(body: bytes) -> OldFilter | None:
        _, _, _, _, info = _TCMSG.unpack_from(body)
        kind = text(attributes(body, _TCMSG.size).get(_TCA_KIND, b""))
        priority = info >> 16
        if kind != "u32" or priority not in PRIORITIES:
            return None
        return OldFilter(ifindex=ifindex, hook=hook, priority=priority, protocol=info & 0xFFFF)

    body = _TCMSG.pack(0, ifindex, 0, hook.value, 0)
    what = f"filter show dev {ifindex} {hook.name.lower()}"
    yield from sock.query(Query(type=RTM_GETTFILTER, body=body, decode=decode, what=what))


def removal_of(one: OldFilter) -> Request:
    """Return what removes the filters of a priority; that there are none is success."""
    info = one.priority << 16 | one.protocol
    return Request(
        type=RTM_DELTFILTER,
        flags=0,
        body=_TCMSG.pack(0, one.ifindex, 0, one.hook.value, info),
        what=f"filter delete dev {one.ifindex} {one.hook.name.lower()} prio {one.priority}",
        tolerated=frozenset({2, 22}),  # ENOENT; EINVAL without a clsact qdisc
    )
