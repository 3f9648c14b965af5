"""Routes as netlink messages. Source: rtnetlink(7), include/uapi/linux/rtnetlink.h."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.linux.netlink.address import AF_OF, KNOWN, NameOf, number_of
from terway.linux.netlink.codec import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Attributes,
    Query,
    Request,
    Words,
    attr,
    attr_u32,
    attributes,
    nested,
    u32,
)
from terway.model.address import Family, IPAddress, IPNetwork, family_of
from terway.model.network import Route, Scope

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

# family, prefix lengths of destination and source, tos, table, protocol, scope, type, flags
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST = 1
_RTA_IIF = 3
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_PREFSRC = 7
_RTA_METRICS = 8
_RTA_TABLE = 15
_RTAX_MTU = 2

_RTN_UNSPEC = 0
_RTN_UNICAST = 1
_RTN_LOCAL = 2
_RTPROT_UNSPEC = 0
_RTPROT_KERNEL = 2
_RTPROT_BOOT = 3  # what iproute2 writes for routes added by hand
_RTNH_F_ONLINK = 4
_RTM_F_CLONED = 0x200
_RT_TABLE_COMPAT = 252  # the one-byte field cannot hold it; RTA_TABLE does
_IPV6_DEFAULT_METRIC = 1024  # IP6_RT_PRIO_USER, which the kernel writes where we said nothing
_AF_INET = 2
_SCOPES = frozenset(scope.value for scope in Scope)

_GONE = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV})


def put(route: Route, ifindex: int) -> Request:
    """Add a route, or replace the one to the same destination in the same table.

    IPv6 routes without a gateway are appended: several links may each lead to one gateway's
    address (two ENIs of one vSwitch), and replacing would take the other link's away.
    """
    adds = route.destination.version == 6 and route.gateway is None
    return Request(
        type=RTM_NEWROUTE,
        flags=NLM_F_CREATE | (NLM_F_APPEND if adds else NLM_F_REPLACE),
        body=_body(route, ifindex, _RTN_UNICAST, _RTPROT_BOOT, route.scope.value),
        what=Words(_words, ("replace", route)),
        tolerated=frozenset({errno.EEXIST}),
    )


def remove(route: Route, ifindex: int = 0) -> Request:
    """Remove a route; that it is not there is success. Without `ifindex`, on any link."""
    return Request(
        type=RTM_DELROUTE,
        flags=0,
        body=_body(route, ifindex, _RTN_UNSPEC, _RTPROT_UNSPEC, Scope.NOWHERE.value),
        what=Words(_words, ("delete", route)),
        tolerated=_GONE,
    )


def is_configured(body: bytes) -> bool:
    """Return whether a route message is about one that was added by hand, as ours are.

    Not those of the kernel, of the router's advertisements, or of a routing daemon.
    """
    protocol: int = _RTMSG.unpack_from(body)[5]
    return protocol == _RTPROT_BOOT


def decode(body: bytes, name_of: NameOf) -> Route | None:
    """Return the route that a notification is about, None for those that plans never have."""
    return _decode(body, name_of, 0, 0)


def _words(doing: tuple[str, Route]) -> str:
    verb, route = doing
    via = "" if route.gateway is None else f" via {route.gateway}"
    return f"route {verb} {route.destination}{via} dev {route.link} table {route.table}"


def _body(route: Route, ifindex: int, kind: int, protocol: int, scope: int) -> bytes:
    destination = route.destination
    header = _RTMSG.pack(
        AF_OF[family_of(destination)],
        destination.prefixlen,
        0,
        0,
        route.table if route.table < 256 else _RT_TABLE_COMPAT,
        protocol,
        scope,
        kind,
        _RTNH_F_ONLINK if route.is_onlink else 0,
    )
    parts = [header, attr_u32(_RTA_TABLE, route.table)]
    if destination.prefixlen:
        parts.append(attr(_RTA_DST, destination.network_address.packed))
    if ifindex:
        parts.append(attr_u32(_RTA_OIF, ifindex))
    if route.gateway is not None:
        parts.append(attr(_RTA_GATEWAY, route.gateway.packed))
    if route.source is not None:
        parts.append(attr(_RTA_PREFSRC, route.source.packed))
    if route.metric:
        parts.append(attr_u32(_RTA_PRIORITY, route.metric))
    if route.mtu_bytes is not None:
        parts.append(nested(_RTA_METRICS, attr_u32(_RTAX_MTU, route.mtu_bytes)))
    return b"".join(parts)


def all_routes(
    family: Family | None,
    name_of: NameOf,
    *,
    table: int = 0,
    ifindex: int = 0,
    needles: tuple[bytes, ...] = (),
) -> Query[Route]:
    """Read the unicast routes of a family (None: of both) that somebody configured.

    Not those that the kernel makes by itself. `table` and `ifindex` narrow it down, in the kernel
    where it can filter (4.20 on).
    """

    def decode(body: bytes) -> Route | None:
        return _decode(body, name_of, table, ifindex)

    header = _RTMSG.pack(number_of(family), 0, 0, 0, 0, 0, 0, _RTN_UNICAST, 0)
    by_table = attr_u32(_RTA_TABLE, table) if table else b""
    by_link = attr_u32(_RTA_OIF, ifindex) if ifindex else b""
    return Query(
        type=RTM_GETROUTE,
        body=header + by_table + by_link,
        decode=decode,
        what=f"route show table {table}",
        needles=needles,
    )


def lookup(destination: IPAddress, name_of: NameOf) -> Query[Route]:
    """Ask the kernel which route a packet of the node to `destination` would take.

    The answer's `source` is the address it would come from. No route is no answer.
    """
    family = AF_OF[family_of(destination)]
    header = _RTMSG.pack(family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)

    def decode(body: bytes) -> Route | None:
        return _decode(body, name_of, 0, 0, is_lookup=True)

    return Query(
        type=RTM_GETROUTE,
        body=header + attr(_RTA_DST, destination.packed),
        decode=decode,
        what=f"route get {destination}",
        is_dump=False,
    )


def is_local(destination: IPAddress, ifindex: int) -> Query[bool]:
    """Ask whether a packet to `destination` that comes in by a link would be the host's own."""
    family = AF_OF[family_of(destination)]
    header = _RTMSG.pack(family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    parts = (attr(_RTA_DST, destination.packed), attr_u32(_RTA_IIF, ifindex))
    return Query(
        type=RTM_GETROUTE,
        body=header + b"".join(parts),
        decode=lambda body: _RTMSG.unpack_from(body)[7] == _RTN_LOCAL,
        what=f"route get {destination} iif {ifindex}",
        is_dump=False,
    )


def _decode(
    body: bytes, name_of: NameOf, table: int, ifindex: int, *, is_lookup: bool = False
) -> Route | None:
    family, prefixlen, _src, _tos, _table, protocol, scope, kind, flags = _RTMSG.unpack_from(body)
    if family not in KNOWN:
        return None
    found = attributes(body, 12)
    own = protocol == _RTPROT_KERNEL or bool(flags & _RTM_F_CLONED)
    if (own and not is_lookup) or kind != _RTN_UNICAST or _RTA_OIF not in found:
        return None  # multipath routes have no single link; we make none
    if family == _AF_INET and scope not in _SCOPES:
        return None  # an administrator may number scopes of his own; we never do
    route_table = u32(found[_RTA_TABLE]) if _RTA_TABLE in found else _table
    link = u32(found[_RTA_OIF])
    if (table and route_table != table) or (ifindex and link != ifindex):
        return None
    return Route(
        destination=_network(family, found.get(_RTA_DST), prefixlen),
        link=name_of(link),
        table=route_table,
        gateway=_address(found.get(_RTA_GATEWAY)),
        is_onlink=bool(flags & _RTNH_F_ONLINK),
        scope=Scope(scope) if family == _AF_INET else Scope.GLOBAL,
        source=_address(found.get(_RTA_PREFSRC)),
        metric=_metric(family, found),
        mtu_bytes=_mtu(found),
    )


def _network(family: int, packed: bytes | None, prefixlen: int) -> IPNetwork:
    if family == _AF_INET:
        return IPv4Network((packed or bytes(4), prefixlen))
    return IPv6Network((packed or bytes(16), prefixlen))


def _address(packed: bytes | None) -> IPAddress | None:
    if packed is None:
        return None
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _metric(family: int, found: Attributes) -> int:
    metric = u32(found[_RTA_PRIORITY]) if _RTA_PRIORITY in found else 0
    is_default = family != _AF_INET and metric == _IPV6_DEFAULT_METRIC
    return 0 if is_default else metric


def _mtu(found: Attributes) -> int | None:
    metrics = attributes(found.get(_RTA_METRICS, b""))
    return u32(metrics[_RTAX_MTU]) if _RTAX_MTU in metrics else None
