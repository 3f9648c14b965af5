"""The phrases that rules of the policy table are made of, in the order of nft(8)'s own."""

from __future__ import annotations

import sys
from enum import Enum

from terway.model.address import Family
from terway.model.nft import KeyType, Rule
from terway.model.nft_rule import (
    SECOND_WORD,
    Bitwise,
    Cmp,
    CmpOp,
    Ct,
    CtKey,
    Decide,
    Expression,
    Lookup,
    Meta,
    MetaKey,
    Payload,
    PayloadBase,
    Verdict,
    VerdictKind,
)
from terway.policy.cluster import Protocol

# /etc/protocols; those that policies tell apart.
PROTOCOL_NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132}
ICMPV6 = 58

# NF_CT_STATE_BIT of include/uapi/linux/netfilter/nf_conntrack_common.h
STATE_INVALID, STATE_RELATED, STATE_NEW = 1, 4, 8
# What the kernel calls families: AF_INET, AF_INET6.
NFPROTO = {Family.V4: b"\x02", Family.V6: b"\x0a"}
ADDRESS_TYPE = {Family.V4: KeyType.IPV4, Family.V6: KeyType.IPV6}

_TCP_FLAGS_OFFSET = 13
_FIN_SYN_RST_ACK = b"\x17"
_SYN = b"\x02"
# Neighbours, routers and their groups: RFC 4861, 2710 and 3810.
_ND_FIRST, _ND_LAST, _MLD2_REPORT = 130, 137, 143


class End(Enum):
    """An end of a packet."""

    SOURCE = "source"
    DESTINATION = "destination"


_ADDRESS_PLACE = {  # offset and length in the IP header
    (Family.V4, End.SOURCE): (12, 4),
    (Family.V4, End.DESTINATION): (16, 4),
    (Family.V6, End.SOURCE): (8, 16),
    (Family.V6, End.DESTINATION): (24, 16),
}
_PORT_PLACE = {End.SOURCE: (0, 2), End.DESTINATION: (2, 2)}


def goto(chain: str) -> Verdict:
    """Return the verdict that goes on in a chain and does not come back."""
    return Verdict(VerdictKind.GOTO, chain)


def jump(chain: str) -> Verdict:
    """Return the verdict that comes back from a chain that did not decide."""
    return Verdict(VerdictKind.JUMP, chain)


def has_state(state: int) -> Rule:
    """Return `ct state …`."""
    mask = state.to_bytes(4, sys.byteorder)
    return (Ct(CtKey.STATE), Bitwise(mask), Cmp(CmpOp.NEQ, bytes(4)))


def is_reply() -> Rule:
    """Return `ct direction reply`; packets without a connection are none."""
    return (Ct(CtKey.DIRECTION), Cmp(CmpOp.EQ, b"\x01"))


def is_protocol(number: int) -> Rule:
    """Return `meta l4proto …`."""
    return (Meta(MetaKey.L4PROTO), Cmp(CmpOp.EQ, bytes((number,))))


def is_not_protocol(number: int) -> Rule:
    """Return `meta l4proto != …`."""
    return (Meta(MetaKey.L4PROTO), Cmp(CmpOp.NEQ, bytes((number,))))


def is_family(family: Family) -> Rule:
    """Return `meta nfproto …`."""
    return (Meta(MetaKey.NFPROTO), Cmp(CmpOp.EQ, NFPROTO[family]))


def is_stray_tcp() -> Rule:
    """Return what a first packet of TCP that does not open a connection is known by."""
    flags = Payload(PayloadBase.TRANSPORT, _TCP_FLAGS_OFFSET, 1)
    masked: Rule = (flags, Bitwise(_FIN_SYN_RST_ACK), Cmp(CmpOp.NEQ, _SYN))
    return has_state(STATE_NEW) + is_protocol(PROTOCOL_NUMBERS[Protocol.TCP]) + masked


def is_neighbour_talk() -> tuple[Rule, Rule]:
    """Return what ICMPv6 is known by that a link cannot live without."""
    kind: Rule = (
        is_family(Family.V6) + is_protocol(ICMPV6) + (Payload(PayloadBase.TRANSPORT, 0, 1),)
    )
    between: Rule = (
        Cmp(CmpOp.GTE, bytes((_ND_FIRST,))),
        Cmp(CmpOp.LTE, bytes((_ND_LAST,))),
    )
    return kind + between, (*kind, Cmp(CmpOp.EQ, bytes((_MLD2_REPORT,))))


def address(family: Family, end: End) -> Rule:
    """Return the loading of an address, in packets of its family."""
    offset, length = _ADDRESS_PLACE[family, end]
    return (*is_family(family), Payload(PayloadBase.NETWORK, offset, length))


def protocol_and_port(end: End) -> Rule:
    """Return the loading of `meta l4proto . th sport` or `th dport`."""
    offset, length = _PORT_PLACE[end]
    return (
        Meta(MetaKey.L4PROTO),
        Payload(PayloadBase.TRANSPORT, offset, length, SECOND_WORD),
    )


def in_set(name: str) -> Expression:
    """Return the test whether what was loaded is in a set."""
    return Lookup(name)


def by_map(name: str) -> Expression:
    """Return the decision by what a map has for what was loaded."""
    return Lookup(name, is_verdict=True)


def then(verdict: Verdict) -> Expression:
    """Return the decision."""
    return Decide(verdict)
