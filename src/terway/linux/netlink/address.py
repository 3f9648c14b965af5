"""Addresses on links as netlink messages. Source: include/uapi/linux/if_addr.h."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface

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
from terway.model.address import Family
from terway.model.network import LinkAddress, Scope

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22

AF_OF = {Family.V4: 2, Family.V6: 10}
KNOWN = frozenset(AF_OF.values())
_AF_INET = 2

_IFADDRMSG = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, ifindex
_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02

NameOf = Callable[[int], str]
"""Gives the name of the link with an ifindex."""


def put(address: LinkAddress, ifindex: int) -> Request:
    """Add an address; that it is there already is success.

    IPv6 without duplicate address detection: the VPC gives an address once, and a pod must be
    able to use it at once, not a second later.
    """
    return Request(
        type=RTM_NEWADDR,
        flags=NLM_F_CREATE | NLM_F_REPLACE,
        body=_body(address, ifindex) + attr_u32(_IFA_FLAGS, _IFA_F_NODAD),
        what=Words(_words, ("add", address)),
        tolerated=frozenset({errno.EEXIST}),
    )


def remove(address: LinkAddress, ifindex: int) -> Request:
    """Remove an address; that it is not there is success."""
    return Request(
        type=RTM_DELADDR,
        flags=0,
        body=_body(address, ifindex),
        what=Words(_words, ("delete", address)),
        tolerated=frozenset({errno.EADDRNOTAVAIL, errno.ENODEV}),
    )


def _words(doing: tuple[str, LinkAddress]) -> str:
    verb, address = doing
    return f"address {verb} {address.address} dev {address.link}"


def _body(address: LinkAddress, ifindex: int) -> bytes:
    interface = address.address
    packed = interface.ip.packed
    family = _AF_INET if interface.version == 4 else AF_OF[Family.V6]
    header = _IFADDRMSG.pack(
        family, interface.network.prefixlen, _IFA_F_NODAD, address.scope.value, ifindex
    )
    return header + attr(_IFA_LOCAL, packed) + attr(_IFA_ADDRESS, packed)


def number_of(family: Family | None) -> int:
    """Return the kernel's number of a family; None is all of them (AF_UNSPEC)."""
    return 0 if family is None else AF_OF[family]


def all_addresses(
    family: Family | None, name_of: NameOf, *, ifindex: int = 0
) -> Query[LinkAddress]:
    """Read the addresses of a family (None: of both), of one link if `ifindex` is given."""

    def decode(body: bytes) -> LinkAddress | None:
        return _decode(body, name_of, ifindex)

    body = _IFADDRMSG.pack(number_of(family), 0, 0, 0, ifindex)
    return Query(type=RTM_GETADDR, body=body, decode=decode, what="address show")


def _decode(body: bytes, name_of: NameOf, wanted: int) -> LinkAddress | None:
    family, prefixlen, _flags, scope, ifindex = _IFADDRMSG.unpack_from(body)
    found = attributes(body, 8)
    packed = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
    if packed is None or family not in KNOWN or (wanted and ifindex != wanted):
        return None
    interface = IPv4Interface if family == _AF_INET else IPv6Interface
    return LinkAddress(
        link=name_of(ifindex), address=interface((packed, prefixlen)), scope=Scope(scope)
    )
