"""Does anybody on the node translate destinations of what comes to it? Blocking; for workers.

Asked every few seconds, so by one netlink dump of the chains: libnftables would be loaded for it
(3 MB), and lists the rules of all.

Source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h.
"""

from __future__ import annotations

import struct
from pathlib import Path

from terway.linux.netlink.codec import Query, attributes, text
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, connect
from terway.model.errors import VpcError

_GET_CHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
_ALL_FAMILIES = struct.pack("=BBH", 0, 0, 0)  # struct nfgenmsg
_CHAIN_HOOK = 4
_CHAIN_TYPE = 7
_HOOK_NUMBER = 1
_PREROUTING = struct.pack("!I", 0)
_NAT = "nat"

# The tables of the older iptables are no chains of nftables; the kernel names them here.
_LEGACY = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))


def translates_destinations() -> bool:
    """Return whether a chain translates what comes in: kube-proxy's, portmap's, anybody's."""
    return _has_nat_chain() or any(_has_nat_table(path) for path in _LEGACY)


def _has_nat_chain() -> bool:
    query = Query(type=_GET_CHAIN, body=_ALL_FAMILIES, decode=_translates, what="nft list chains")
    try:
        with NetlinkSocket(connect(NETLINK_NETFILTER)) as sock:
            return any(sock.query(query))
    except (VpcError, OSError):  # a kernel without nf_tables has no chains
        return False


def _translates(body: bytes) -> bool:
    chain = attributes(body, len(_ALL_FAMILIES))
    hook = attributes(chain.get(_CHAIN_HOOK, b""))
    return text(chain.get(_CHAIN_TYPE, b"")) == _NAT and hook.get(_HOOK_NUMBER) == _PREROUTING


def _has_nat_table(path: Path) -> bool:
    try:
        return _NAT in path.read_text().split()
    except OSError:  # the module is not loaded: there is none
        return False
