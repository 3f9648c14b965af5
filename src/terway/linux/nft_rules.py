"""Which rules of nftables lead to which chain, whoever made them? Blocking; for workers.

One dump by netlink. Rules of iptables-nft are among them; of their matches nothing is read but
whether a word is in them (comments are there in one way or another, by the version that made them).

Source: include/uapi/linux/netfilter/nf_tables.h (NFTA_RULE_*, NFTA_EXPR_*, NFTA_VERDICT_*).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from terway.linux.netlink.codec import ATTR, NLA_TYPE_MASK, Query, attributes, text
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, connect
from terway.linux.nft_chains import FAMILIES

_GET_RULE = 10 << 8 | 7  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETRULE
_HEADER = struct.Struct("=BBH")  # struct nfgenmsg
_HANDLE = struct.Struct(">Q")
_TABLE, _CHAIN, _RULE_HANDLE, _EXPRESSIONS = 1, 2, 3, 4
_EXPR_NAME, _EXPR_DATA = 1, 2
_IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CHAIN = 2, 2, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NftRule:
    """A rule: where it is, and the chain that it jumps or goes to, empty for none."""

    family: str
    table: str
    chain: str
    handle: int
    target: str = ""
    is_marked: bool = False  # a word that was asked for is in it


def list_rules(word: bytes) -> tuple[NftRule, ...]:
    """Return the rules of the thread's network namespace; those with `word` are marked.

    Raises UsageError without the privileges, TransientError where the kernel has no nftables.
    """

    def decode(body: bytes) -> NftRule:
        found = attributes(body, _HEADER.size)
        return NftRule(
            family=FAMILIES.get(body[0], str(body[0])),
            table=text(found.get(_TABLE, b"")),
            chain=text(found.get(_CHAIN, b"")),
            handle=_HANDLE.unpack(found[_RULE_HANDLE])[0],
            target=next(_targets(found.get(_EXPRESSIONS, b"")), ""),
            is_marked=word in body,
        )

    query = Query(type=_GET_RULE, body=_HEADER.pack(0, 0, 0), decode=decode, what="nft list rules")
    with NetlinkSocket(connect(NETLINK_NETFILTER)) as sock:
        return tuple(sock.query(query))


def _targets(expressions: bytes) -> Iterator[str]:
    for element in _elements(expressions):
        found = attributes(element)
        if text(found.get(_EXPR_NAME, b"")) == "immediate":
            data = attributes(found.get(_EXPR_DATA, b""))
            verdict = attributes(data.get(_IMMEDIATE_DATA, b"")).get(_DATA_VERDICT, b"")
            name = text(attributes(verdict).get(_VERDICT_CHAIN, b""))
            if name:
                yield name


def _elements(data: bytes) -> Iterator[bytes]:
    """Yield the elements of a list, all of one type: `attributes` would keep the last of them."""
    start = 0
    while start + ATTR.size <= len(data):
        length, kind = ATTR.unpack_from(data, start)
        if length < ATTR.size or kind & NLA_TYPE_MASK == 0:
            return
        yield data[start + ATTR.size : start + length]
        start += (length + 3) & ~3
