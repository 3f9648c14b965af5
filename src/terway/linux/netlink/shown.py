"""What would iproute2 show? Routes of every kind, neighbours in every state, one packet's route.

For tools that look: the agent reads only what it may have made (`route`, `neighbour`).
Source: include/uapi/linux/rtnetlink.h, include/uapi/linux/neighbour.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.linux.netlink.address import AF_OF, KNOWN, NameOf, number_of
from terway.linux.netlink.codec import (
    Attributes,
    Query,
    attr,
    attr_u32,
    attributes,
    text,
    u32,
)
from terway.model.address import IPAddress, IPNetwork, family_of
from terway.model.ids import MacAddress

_RTM_GETROUTE = 26
_RTM_GETNEIGH = 30
_RTM_GETTFILTER = 46
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_TCMSG = struct.Struct("=BxxxiIII")
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 2, 3, 4, 5, 6
_RTA_PREFSRC, _RTA_TABLE, _RTA_MARK = 7, 15, 16
_NDA_DST, _NDA_LLADDR = 1, 2
_TCA_KIND = 1
_RTM_F_CLONED = 0x200
_RTM_F_LOOKUP_TABLE = 0x1000  # say which table decided, not always "main"
_AF_INET = 2

# RTN_*: what becomes of a packet that takes the route.
_KINDS = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
# NUD_*: ip-neighbour(8).
_STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRoute:
    """A route of any kind. `link` is empty where packets end (blackhole and such)."""

    kind: str
    destination: IPNetwork
    table: int
    link: str = ""
    gateway: IPAddress | None = None
    source: IPAddress | None = None
    metric: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownNeighbour:
    """A neighbour in any state; `mac` is None while the kernel does not know it."""

    link: str
    address: IPAddress
    state: str
    mac: MacAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFilter:
    """A tc filter: what kind, where, and its priority."""

    link: str
    kind: str
    priority: int


def all_routes(name_of: NameOf) -> Query[ShownRoute]:
    """Read all routes of both families and all tables."""
    return Query(
        type=_RTM_GETROUTE,
        body=_RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0),
        decode=_route_decoder(name_of),
        what="route show table all",
    )


def route_of(
    destination: IPAddress,
    name_of: NameOf,
    *,
    source: IPAddress | None = None,
    iif: int = 0,
    mark: int = 0,
) -> Query[ShownRoute]:
    """Ask which route one packet takes: of the node, or with `iif` one that is forwarded."""
    from_bits = 0 if source is None else source.max_prefixlen
    family = AF_OF[family_of(destination)]
    to_bits = destination.max_prefixlen
    # IPv6 always says, and refuses the flag.
    flags = _RTM_F_LOOKUP_TABLE if destination.version == 4 else 0
    header = _RTMSG.pack(family, to_bits, from_bits, 0, 0, 0, 0, 0, flags)
    parts = [attr(_RTA_DST, destination.packed)]
    if source is not None:
        parts.append(attr(_RTA_SRC, source.packed))
    if iif:
        parts.append(attr_u32(_RTA_IIF, iif))
    if mark:
        parts.append(attr_u32(_RTA_MARK, mark))
    return Query(
        type=_RTM_GETROUTE,
        body=header + b"".join(parts),
        decode=_route_decoder(name_of, is_lookup=True),
        what=f"route get {destination} from {source or 'any'} iif {iif}",
        is_dump=False,
    )


def _route_decoder(
    name_of: NameOf, *, is_lookup: bool = False
) -> Callable[[bytes], ShownRoute | None]:
    def decode(body: bytes) -> ShownRoute | None:
        family, prefixlen, _s, _tos, table, _p, _scope, kind, flags = _RTMSG.unpack_from(body)
        if family not in KNOWN or (flags & _RTM_F_CLONED and not is_lookup):
            return None
        found = attributes(body, 12)
        return ShownRoute(
            kind=_KINDS.get(kind, str(kind)),
            destination=_network(family, found.get(_RTA_DST), prefixlen),
            table=u32(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
            link=name_of(u32(found[_RTA_OIF])) if _RTA_OIF in found else "",
            gateway=_address(found.get(_RTA_GATEWAY)),
            source=_address(found.get(_RTA_PREFSRC)),
            metric=_metric(found),
        )

    return decode


def _metric(found: Attributes) -> int:
    return u32(found[_RTA_PRIORITY]) if _RTA_PRIORITY in found else 0


def _network(family: int, packed: bytes | None, prefixlen: int) -> IPNetwork:
    if family == _AF_INET:
        return IPv4Network((packed or bytes(4), prefixlen))
    return IPv6Network((packed or bytes(16), prefixlen))


def _address(packed: bytes | None) -> IPAddress | None:
    if packed is None:
        return None
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def all_neighbours(name_of: NameOf) -> Query[ShownNeighbour]:
    """Read all neighbours of both families, whatever the kernel thinks of them."""

    def decode(body: bytes) -> ShownNeighbour | None:
        family, ifindex, state, _flags, _type = _NDMSG.unpack_from(body)
        found = attributes(body, 12)
        address = _address(found.get(_NDA_DST))
        mac = found.get(_NDA_LLADDR, b"")
        if family not in KNOWN or address is None:
            return None
        return ShownNeighbour(
            link=name_of(ifindex),
            address=address,
            state=_STATES.get(state, str(state)),
            mac=MacAddress(mac.hex(":")) if len(mac) == 6 else None,
        )

    body = _NDMSG.pack(number_of(None), 0, 0, 0, 0)
    return Query(type=_RTM_GETNEIGH, body=body, decode=decode, what="neighbour show")


def filters_of(link: str, ifindex: int, parent: int) -> Query[ShownFilter]:
    """Read the tc filters of a link at `parent` (a hook of clsact, or a qdisc's handle)."""

    def decode(body: bytes) -> ShownFilter | None:
        *_rest, info = _TCMSG.unpack_from(body)
        kind = text(attributes(body, 20).get(_TCA_KIND, b""))
        return ShownFilter(link=link, kind=kind, priority=info >> 16)

    body = _TCMSG.pack(0, ifindex, 0, parent, 0)
    return Query(type=_RTM_GETTFILTER, body=body, decode=decode, what=f"filter show dev {link}")
