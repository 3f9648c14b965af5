"""What connection tracking remembers of an address, and how to make it forget.

The pool keeps a released address cooling while the kernel may still send its last owner's packets
to a new one. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass

from terway.linux.netlink.address import AF_OF
from terway.linux.netlink.codec import Query, Request, attr, attributes
from terway.linux.netlink.errors import errno_name, translate_os_error
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, connect, send_all
from terway.model.address import IPAddress, family_of
from terway.model.errors import VpcError

_NFGENMSG = struct.Struct("=BBH")  # family, version, resource
_CT_GET = 1 << 8 | 1
_CT_DELETE = 1 << 8 | 2
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_ID = 12
_CTA_ZONE = 18
_CTA_TUPLE_IP = 1

_ABSENT = frozenset({"EPROTONOSUPPORT", "EINVAL", "EOPNOTSUPP", "EAFNOSUPPORT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """The attributes that name an entry, as they came; `addresses` are its four, packed."""

    family: int
    name: bytes
    addresses: frozenset[bytes]


def count(addresses: Collection[IPAddress]) -> int | None:
    """Return how many entries involve any of `addresses`; None without connection tracking."""
    return _unless_absent(lambda sock: len(_flows(sock, addresses)))


def forget(addresses: Collection[IPAddress]) -> int | None:
    """Delete all entries that involve any of `addresses`, on either side and in either direction.

    Returns how many there were; None without connection tracking: nothing remembers then.
    """

    def delete(sock: NetlinkSocket) -> int:
        flows = _flows(sock, addresses)
        send_all(sock, (_delete(flow) for flow in flows))
        return len(flows)

    return _unless_absent(delete)


def _unless_absent(work: Callable[[NetlinkSocket], int]) -> int | None:
    try:
        with NetlinkSocket(connect(NETLINK_NETFILTER)) as sock:
            return work(sock)
    except VpcError as error:
        if error.code in _ABSENT:
            return None
        raise
    except OSError as error:
        if errno_name(error.errno or 0) in _ABSENT:
            return None
        raise translate_os_error(error, "open conntrack socket") from error


def _flows(sock: NetlinkSocket, addresses: Collection[IPAddress]) -> list[_Flow]:
    wanted = frozenset(address.packed for address in addresses)
    families = sorted({AF_OF[family_of(address)] for address in addresses})
    return [flow for family in families for flow in sock.query(_involving(family, wanted))]


def _involving(family: int, wanted: frozenset[bytes]) -> Query[_Flow]:
    def decode(body: bytes) -> _Flow | None:
        # A full table has 10^5 entries: look for the bytes before looking at the structure.
        if not any(packed in body for packed in wanted):
            return None
        flow = _decode(body)
        return flow if flow.addresses & wanted else None

    body = _NFGENMSG.pack(family, 0, 0)
    return Query(type=_CT_GET, body=body, decode=decode, what="conntrack list")


def _decode(body: bytes) -> _Flow:
    family, _version, _resource = _NFGENMSG.unpack_from(body)
    found = attributes(body, 4)
    tuples = (found.get(kind, b"") for kind in (_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY))
    ends = (attributes(attributes(one).get(_CTA_TUPLE_IP, b"")) for one in tuples)
    # The id makes sure that a later connection with the same ports is not hit.
    named_by = (_CTA_TUPLE_ORIG, _CTA_ID, _CTA_ZONE)
    return _Flow(
        family=family,
        name=b"".join(_quoted(kind, found[kind]) for kind in named_by if kind in found),
        addresses=frozenset(packed for end in ends for packed in end.values()),
    )


def _quoted(kind: int, payload: bytes) -> bytes:
    is_nested = kind == _CTA_TUPLE_ORIG
    return attr(kind | (0x8000 if is_nested else 0), payload)


def _delete(flow: _Flow) -> Request:
    return Request(
        type=_CT_DELETE,
        flags=0,
        body=_NFGENMSG.pack(flow.family, 0, 0) + flow.name,
        what="conntrack delete",
        tolerated=frozenset({errno.ENOENT}),
    )
