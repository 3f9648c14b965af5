"""Does kube-proxy lead services on this node? By its chains, or its process. Blocking.

Its chains stay when it goes, until the node starts anew: then they still lead packets.
Source: kubernetes/pkg/proxy, iptables/proxier.go (KUBE-SERVICES) and nftables/proxier.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from terway.linux.nft_chains import NftChain, list_chains
from terway.model.errors import VpcError

_PROCESS = "kube-proxy"
_TABLE = "kube-proxy"
_CHAIN = "KUBE-SERVICES"
_PROC = Path("/proc")


def has_kube_proxy(proc: Path = _PROC) -> bool:
    """Return whether it runs, or its chains are there. Some ms."""
    try:
        chains = list_chains()
    except VpcError:  # a kernel without nf_tables has no chains
        chains = ()
    return has_chains(chains) or runs_kube_proxy(proc)


def has_chains(chains: Iterable[NftChain]) -> bool:
    """Return whether some of these chains are kube-proxy's."""
    return any(one.table == _TABLE or one.name == _CHAIN for one in chains)


def runs_kube_proxy(proc: Path = _PROC) -> bool:
    """Return whether a process of that name is seen: none is from a PID namespace of its own."""
    for path in proc.glob("[0-9]*/comm"):
        try:
            if path.read_text(encoding="ascii", errors="replace").strip() == _PROCESS:
                return True
        except OSError:  # it has just ended
            continue
    return False
