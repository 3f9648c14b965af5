"""Neighbours as netlink messages. Source: include/uapi/linux/neighbour.h."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

from terway.linux.netlink.address import AF_OF, KNOWN, NameOf, number_of
from terway.linux.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Query,
    Request,
    Words,
    attr,
    attr_u32,
    attributes,
)
from terway.linux.netlink.link import pack_mac
from terway.model.address import Family, family_of
from terway.model.ids import MacAddress
from terway.model.network import Neighbour

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

_NDMSG = struct.Struct("=BxxxiHBB")  # family, ifindex, state, flags, type
_NDA_DST = 1
_NDA_LLADDR = 2
_NDA_IFINDEX = 8
_NUD_PERMANENT = 0x80
_NTF_PROXY = 0x08


def put(neighbour: Neighbour, ifindex: int) -> Request:
    """Add a permanent neighbour, or change its MAC."""
    mac = attr(_NDA_LLADDR, pack_mac(neighbour.mac))
    return Request(
        type=RTM_NEWNEIGH,
        flags=NLM_F_CREATE | NLM_F_REPLACE,
        body=_body(neighbour, ifindex, _NUD_PERMANENT) + mac,
        what=Words(_words, ("replace", neighbour)),
    )


def remove(neighbour: Neighbour, ifindex: int) -> Request:
    """Remove a neighbour; that it is not there is success."""
    return Request(
        type=RTM_DELNEIGH,
        flags=0,
        body=_body(neighbour, ifindex, 0),
        what=Words(_words, ("delete", neighbour)),
        tolerated=frozenset({errno.ENOENT, errno.ENODEV}),
    )


def _words(doing: tuple[str, Neighbour]) -> str:
    verb, neighbour = doing
    return f"neighbour {verb} {neighbour.address} dev {neighbour.link} lladdr {neighbour.mac}"


def _body(neighbour: Neighbour, ifindex: int, state: int) -> bytes:
    family = AF_OF[family_of(neighbour.address)]
    return _NDMSG.pack(family, ifindex, state, 0, 0) + attr(_NDA_DST, neighbour.address.packed)


def all_neighbours(family: Family | None, name_of: NameOf, *, ifindex: int = 0) -> Query[Neighbour]:
    """Read the permanent neighbours of a family (None: of both), of one link if given."""

    def decode(body: bytes) -> Neighbour | None:
        return _decode(body, name_of, ifindex)

    narrowed = attr_u32(_NDA_IFINDEX, ifindex) if ifindex else b""
    body = _NDMSG.pack(number_of(family), 0, 0, 0, 0) + narrowed
    return Query(type=RTM_GETNEIGH, body=body, decode=decode, what="neighbour show")


def _decode(body: bytes, name_of: NameOf, wanted: int) -> Neighbour | None:
    family, ifindex, state, flags, _type = _NDMSG.unpack_from(body)
    found = attributes(body, 12)
    packed, mac = found.get(_NDA_DST), found.get(_NDA_LLADDR, b"")
    ours = state & _NUD_PERMANENT and not flags & _NTF_PROXY and len(mac) == 6
    if packed is None or family not in KNOWN or not ours or (wanted and ifindex != wanted):
        return None
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return Neighbour(link=name_of(ifindex), address=address, mac=MacAddress(mac.hex(":")))
