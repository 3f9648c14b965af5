"""Filters that send all packets of a hook to another link, as netlink messages.

The classifier is a program of one instruction, "all" (classic BPF): every kernel that can load our
eBPF programs has it, while matchall and u32 are options of their own. The action is mirred.
Source: include/uapi/linux/pkt_cls.h (TCA_BPF_*), tc_act/tc_mirred.h; net/sched/cls_bpf.c.
"""

from __future__ import annotations

import struct

from terway.linux.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Query,
    Request,
    attr,
    attr_str,
    attributes,
    nested,
    text,
)
from terway.linux.netlink.traffic import RTM_GETTFILTER, RTM_NEWTFILTER, Hook, filter_body

_TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
_TCA_KIND = 1
_TCA_OPTIONS = 2
_TCA_BPF_ACT = 1
_TCA_BPF_OPS_LEN = 4
_TCA_BPF_OPS = 5
_TCA_ACT_KIND = 1
_TCA_ACT_OPTIONS = 2
_TCA_MIRRED_PARMS = 2
_FIRST = 1  # an action's place in its list

_RETURN_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)  # BPF_RET | BPF_K: it matches
# struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
_MIRRED = struct.Struct("=IIiiiiI")
_TC_ACT_STOLEN = 4
_TCA_EGRESS_REDIR = 1


def put_redirect(ifindex: int, hook: Hook, *, target: int, priority: int) -> Request:
    """Send what passes a hook to the link `target`, or change where it is sent to."""
    mirred = nested(
        _TCA_ACT_OPTIONS,
        attr(
            _TCA_MIRRED_PARMS, _MIRRED.pack(0, 0, _TC_ACT_STOLEN, 0, 0, _TCA_EGRESS_REDIR, target)
        ),
    )
    options = nested(
        _TCA_OPTIONS,
        nested(_TCA_BPF_ACT, nested(_FIRST, attr_str(_TCA_ACT_KIND, "mirred"), mirred)),
        attr(_TCA_BPF_OPS_LEN, struct.pack("=H", 1)),
        attr(_TCA_BPF_OPS, _RETURN_ALL),
    )
    return Request(
        type=RTM_NEWTFILTER,
        flags=NLM_F_CREATE | NLM_F_REPLACE,
        body=filter_body(ifindex, hook, priority, 1) + options,
        what=f"filter replace dev {ifindex} {hook.name.lower()} mirred redirect dev {target}",
    )


def redirects(ifindex: int, hook: Hook, *, priority: int) -> Query[int]:
    """Read where filters of a priority send packets to: numbers of links; 0 is one that is gone."""

    def decode(body: bytes) -> int | None:
        found = attributes(body, _TCMSG.size)
        if _TCMSG.unpack_from(body)[4] >> 16 != priority or text(found[_TCA_KIND]) != "bpf":
            return None
        return _target(attributes(found.get(_TCA_OPTIONS, b"")).get(_TCA_BPF_ACT, b""))

    return Query(
        type=RTM_GETTFILTER,
        body=_TCMSG.pack(0, ifindex, 0, hook.value, 0),
        decode=decode,
        what=f"filter show dev {ifindex} {hook.name.lower()}",
    )


def _target(actions: bytes) -> int | None:
    action = attributes(attributes(actions).get(_FIRST, b""))
    if text(action.get(_TCA_ACT_KIND, b"")) != "mirred":
        return None
    parms = attributes(action.get(_TCA_ACT_OPTIONS, b"")).get(_TCA_MIRRED_PARMS)
    return None if parms is None else int(_MIRRED.unpack_from(parms)[6])
