"""Policy routing rules as netlink messages. Source: include/uapi/linux/fib_rules.h."""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Network, IPv6Network

from terway.linux.netlink.address import AF_OF, KNOWN, number_of
from terway.linux.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Attributes,
    Query,
    Request,
    Words,
    attr,
    attr_str,
    attr_u32,
    attributes,
    text,
    u32,
)
from terway.model.address import Family, IPNetwork
from terway.model.network import RoutingRule

RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34

# family, prefix lengths of destination and source, tos, table, two reserved, action, flags
_RULE = struct.Struct("=BBBBBBBBI")
_FRA_DST = 1
_FRA_SRC = 2
_FRA_IIFNAME = 3
_FRA_PRIORITY = 6
_FRA_FWMARK = 10
_FRA_TABLE = 15
_FRA_FWMASK = 16
_FRA_OIFNAME = 17
_FR_ACT_TO_TBL = 1
_FR_ACT_PROHIBIT = 8
_AF_INET = 2


def put(rule: RoutingRule) -> Request:
    """Add a rule; that exactly this one is there already is success."""
    return Request(
        type=RTM_NEWRULE,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=_body(rule),
        what=Words(_words, ("add", rule)),
        tolerated=frozenset({errno.EEXIST}),
    )


def remove(rule: RoutingRule) -> Request:
    """Remove a rule; that it is not there is success."""
    return Request(
        type=RTM_DELRULE,
        flags=0,
        body=_body(rule),
        what=Words(_words, ("delete", rule)),
        tolerated=frozenset({errno.ENOENT, errno.ESRCH}),
    )


def _words(doing: tuple[str, RoutingRule]) -> str:
    verb, rule = doing
    ends = ("from", rule.source), ("to", rule.destination)
    selector = " ".join(f"{word} {value}" for word, value in ends if value is not None)
    does = "prohibit" if rule.is_prohibit else f"lookup {rule.table}"
    return f"rule {verb} priority {rule.priority} {selector or 'from all'} {does}"


def _body(rule: RoutingRule) -> bytes:
    header = _RULE.pack(
        AF_OF[rule.family],
        rule.destination.prefixlen if rule.destination else 0,
        rule.source.prefixlen if rule.source else 0,
        0,
        rule.table if rule.table < 256 else 0,
        0,
        0,
        _FR_ACT_PROHIBIT if rule.is_prohibit else _FR_ACT_TO_TBL,
        0,
    )
    parts = [header, attr_u32(_FRA_TABLE, rule.table), attr_u32(_FRA_PRIORITY, rule.priority)]
    if rule.destination is not None:
        parts.append(attr(_FRA_DST, rule.destination.network_address.packed))
    if rule.source is not None:
        parts.append(attr(_FRA_SRC, rule.source.network_address.packed))
    if rule.iif:
        parts.append(attr_str(_FRA_IIFNAME, rule.iif))
    if rule.oif:
        parts.append(attr_str(_FRA_OIFNAME, rule.oif))
    if rule.fwmark:
        parts += (attr_u32(_FRA_FWMARK, rule.fwmark), attr_u32(_FRA_FWMASK, rule.fwmask))
    return b"".join(parts)


def all_rules(family: Family | None, *, needles: tuple[bytes, ...] = ()) -> Query[RoutingRule]:
    """Read the rules of a family (None: of both) that look into a table, or prohibit."""
    body = _RULE.pack(number_of(family), 0, 0, 0, 0, 0, 0, 0, 0)
    return Query(type=RTM_GETRULE, body=body, decode=decode, what="rule show", needles=needles)


def decode(body: bytes) -> RoutingRule | None:
    """Return the rule that a message is about, None for one of another kind than we make."""
    family, dst_len, src_len, _tos, table, _r1, _r2, action, _flags = _RULE.unpack_from(body)
    if action not in (_FR_ACT_TO_TBL, _FR_ACT_PROHIBIT) or family not in KNOWN:
        return None
    found = attributes(body, 12)
    return RoutingRule(
        family=Family.V4 if family == _AF_INET else Family.V6,
        priority=u32(found[_FRA_PRIORITY]) if _FRA_PRIORITY in found else 0,
        table=u32(found[_FRA_TABLE]) if _FRA_TABLE in found else table,
        source=_network(found, _FRA_SRC, src_len),
        destination=_network(found, _FRA_DST, dst_len),
        iif=text(found.get(_FRA_IIFNAME, b"")),
        oif=text(found.get(_FRA_OIFNAME, b"")),
        fwmark=u32(found[_FRA_FWMARK]) if _FRA_FWMARK in found else 0,
        fwmask=_mask(found),
        is_prohibit=action == _FR_ACT_PROHIBIT,
    )


def _mask(found: Attributes) -> int:
    # Without a mark the kernel shows mask 0, or none; in RoutingRule both are "the whole mark".
    marked = _FRA_FWMARK in found and _FRA_FWMASK in found
    return u32(found[_FRA_FWMASK]) if marked else 0xFFFFFFFF


def _network(found: Attributes, kind: int, prefixlen: int) -> IPNetwork | None:
    packed = found.get(kind)
    if packed is None:
        return None
    network = IPv4Network if len(packed) == 4 else IPv6Network
    return network((packed, prefixlen))
