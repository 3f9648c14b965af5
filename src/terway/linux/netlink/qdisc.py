"""Queueing disciplines as netlink messages: tbf, prio, fq, and what a link has at its root.

Source: include/uapi/linux/pkt_sched.h; net/sched/sch_tbf.c, sch_prio.c, sch_mq.c.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from terway.linux.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Query,
    Request,
    attr,
    attr_str,
    attr_u32,
    attributes,
    nested,
    text,
)
from terway.model.traffic import TokenBucket

RTM_NEWQDISC = 36
RTM_DELQDISC = 37
RTM_GETQDISC = 38

ROOT = 0xFFFFFFFF
HANDLE = 0x7E2A0000  # not 1:0, as everybody has it: what is ours is told by it
PACED_HANDLE = 0x7E2B0000  # another: a qdisc that replaces one of another kind cannot have its own

_TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
_TCA_KIND = 1
_TCA_OPTIONS = 2

_TCA_TBF_PARMS = 1
_TCA_TBF_RATE64 = 4
_TCA_TBF_BURST = 6
# struct tc_tbf_qopt: two struct tc_ratespec (cell log, link layer, overhead, align, mpu, rate),
# limit, buffer, mtu.
_RATE = struct.Struct("=BBHhHI")
_TBF = struct.Struct("=12s12sIII")
_RATE64 = struct.Struct("=Q")
_RATE32_MAX = 0xFFFFFFFF
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET; without it the kernel wants a table of transmission times
_NS_PER_TICK = 64  # PSCHED_SHIFT 6

_PRIO = struct.Struct("=i16s")  # bands, and the band of each value of skb->priority
# The default of prio and pfifo_fast, and of tc(8): interactive 0, best effort 1, bulk 2.
_BANDS, _BAND_OF = 3, bytes((1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc:
    """A qdisc: where it is, what it is, and its options as they are."""

    ifindex: int
    kind: str
    handle: int
    parent: int
    options: bytes


def put_tbf(wanted: TokenBucket, ifindex: int) -> Request:
    """Put a tbf at the root of a link; one that is there changes and keeps what waits in it."""
    rate = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(wanted.rate_bytes_s, _RATE32_MAX))
    buffer = wanted.burst_bytes * 1_000_000_000 // wanted.rate_bytes_s // _NS_PER_TICK
    options = nested(
        _TCA_OPTIONS,
        attr(_TCA_TBF_PARMS, _TBF.pack(rate, bytes(12), wanted.limit_bytes, buffer, 0)),
        attr(_TCA_TBF_RATE64, _RATE64.pack(wanted.rate_bytes_s)),
        attr_u32(_TCA_TBF_BURST, wanted.burst_bytes),
    )
    words = f"tbf rate {8 * wanted.rate_bytes_s}bit"
    return _put(ifindex, "tbf", options, handle=HANDLE, parent=ROOT, words=words)


def put_prio(ifindex: int, *, handle: int, parent: int) -> Request:
    """Put three queues, of which the first goes first, at a place of a link."""
    options = attr(_TCA_OPTIONS, _PRIO.pack(_BANDS, _BAND_OF))
    return _put(ifindex, "prio", options, handle=handle, parent=parent, words="prio bands 3")


def put_simple(ifindex: int, kind: str, *, handle: int = 0, parent: int = ROOT) -> Request:
    """Put a qdisc with the options that it has by itself: mq, fq."""
    return _put(ifindex, kind, b"", handle=handle, parent=parent, words=kind)


def _put(
    ifindex: int, kind: str, options: bytes, *, handle: int, parent: int, words: str
) -> Request:
    header = _TCMSG.pack(0, ifindex, handle, parent, 0)
    return Request(
        type=RTM_NEWQDISC,
        flags=NLM_F_CREATE | NLM_F_REPLACE,
        body=header + attr_str(_TCA_KIND, kind) + options,
        what=f"qdisc replace dev {ifindex} parent {parent:x} {words}",
    )


def remove_root(ifindex: int) -> Request:
    """Give a link its default qdisc back; that it has that already is success."""
    return Request(
        type=RTM_DELQDISC,
        flags=0,
        body=_TCMSG.pack(0, ifindex, 0, ROOT, 0),
        what=f"qdisc delete dev {ifindex} root",
        tolerated=frozenset({errno.EINVAL, errno.ENOENT, errno.ENODEV}),
    )


def qdiscs_of(ifindex: int) -> Query[Qdisc]:
    """Read the qdiscs of a link; default ones that hold nothing are not told.

    The kernel dumps those of all links, whatever is asked. A single one it tells to everybody who
    listens for changes, and to the asker only by the way.
    """

    def decode(body: bytes) -> Qdisc | None:
        return _decode(body) if _TCMSG.unpack_from(body)[1] == ifindex else None

    return Query(
        type=RTM_GETQDISC,
        body=_TCMSG.pack(0, ifindex, 0, 0, 0),
        decode=decode,
        what=f"qdisc show dev {ifindex}",
    )


def _decode(body: bytes) -> Qdisc:
    _family, ifindex, handle, parent, _info = _TCMSG.unpack_from(body)
    found = attributes(body, _TCMSG.size)
    return Qdisc(
        ifindex=ifindex,
        kind=text(found.get(_TCA_KIND, b"")),
        handle=handle,
        parent=parent,
        options=found.get(_TCA_OPTIONS, b""),
    )


def token_bucket(found: Qdisc, link: str) -> TokenBucket | None:
    """Return the tbf that a root qdisc is; None when it is something else, or not ours."""
    if found.kind != "tbf" or found.parent != ROOT or found.handle != HANDLE:
        return None
    options = attributes(found.options)
    rate_spec, _peak, limit, buffer, _mtu = _TBF.unpack_from(options[_TCA_TBF_PARMS])
    rate = int(_RATE.unpack(rate_spec)[5])
    if _TCA_TBF_RATE64 in options:
        rate = int(_RATE64.unpack_from(options[_TCA_TBF_RATE64])[0])
    return TokenBucket(
        link=link,
        rate_bytes_s=rate,
        burst_bytes=buffer * _NS_PER_TICK * rate // 1_000_000_000,
        limit_bytes=limit,
    )
