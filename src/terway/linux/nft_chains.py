"""Which chains of nftables are there, of any family and whoever made them? Blocking; for workers.

One dump by netlink, without the rules. Those of iptables are among them where it is iptables-nft.

Source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from terway.linux.netlink.codec import Query, attributes, text
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, connect
from terway.linux.netns import entered, open_netns

_GET_CHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
_HEADER = struct.Struct("=BBH")  # struct nfgenmsg
_TABLE, _NAME = 1, 3
FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NftChain:
    """A chain; `family` as nft(8) spells it."""

    family: str
    table: str
    name: str


def list_chains(netns: str = "") -> tuple[NftChain, ...]:
    """Return the chains of a network namespace ("": the thread's own).

    Raises ConflictError when the namespace is gone, UsageError without the privileges, and
    TransientError where the kernel has no nftables.
    """
    if not netns:
        return _list()
    with open_netns(netns) as opened, entered(opened.fd):
        return _list()


def _list() -> tuple[NftChain, ...]:
    body = _HEADER.pack(0, 0, 0)
    query = Query(type=_GET_CHAIN, body=body, decode=_chain, what="nft list chains")
    with NetlinkSocket(connect(NETLINK_NETFILTER)) as sock:
        return tuple(sock.query(query))


def _chain(body: bytes) -> NftChain:
    number = _HEADER.unpack_from(body)[0]
    found = attributes(body, _HEADER.size)
    return NftChain(
        family=FAMILIES.get(number, str(number)),
        table=text(found.get(_TABLE, b"")),
        name=text(found.get(_NAME, b"")),
    )
