"""Who translates the service addresses of a case? Each node, as a kube-proxy there would.

A table of nftables in the nodes' namespaces, of this module's own: destinations only, in front of
routing, so that policy sees the pod behind and the client's own address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from terway.lab.policy.cases import Via
from terway.lab.policy.ends import Ends
from terway.lab.policy.prober import Attempt
from terway.lab.world.node import run_command
from terway.model.address import IPAddress
from terway.policy.flow import Flow

_TABLE = "inet terway_lab_services"
_HOOKS = (
    "type nat hook prerouting priority dstnat;",
    "type nat hook output priority -100;",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A service address, and the connection that it is to become."""

    attempt: Attempt
    address: IPAddress
    port: int


class Services:
    """The service addresses of one state, on all nodes: paths of their network namespaces."""

    def __init__(self) -> None:
        self.nodes: tuple[str, ...] = ()
        self._are_there = False

    async def translate(self, wanted: Sequence[Translation]) -> None:
        """Translate these addresses, and no others."""
        if not wanted and not self._are_there:
            return
        text = "\n".join((f"table {_TABLE}", f"delete table {_TABLE}", *_table(wanted), ""))
        self._are_there = bool(wanted)
        await asyncio.gather(
            *(run_command(["nsenter", f"--net={one}", "nft", "-f", "-"], stdin=text)
              for one in self.nodes)
        )  # fmt: skip


def translations(ends: Ends, services: Mapping[Flow, Via]) -> list[Translation]:
    """Return what service addresses of a case stand for in the lab."""
    return [
        Translation(attempt=ends.attempt(flow), address=ends.real(via.address), port=via.port)
        for flow, via in services.items()
    ]


def _table(wanted: Sequence[Translation]) -> list[str]:
    if not wanted:
        return []
    rules = dict.fromkeys(_rule(one) for one in wanted)
    chains = [
        line
        for number, hook in enumerate(_HOOKS)
        for line in (f"chain c{number} {{", hook, *rules, "}")
    ]
    return [f"table {_TABLE} {{", *chains, "}"]


def _rule(one: Translation) -> str:
    protocol = one.attempt.protocol.value.lower()
    family = "ip" if one.address.version == 4 else "ip6"
    target = str(one.attempt.destination)
    target = target if family == "ip" else f"[{target}]"
    return (
        f"meta l4proto {protocol} {family} daddr {one.address} th dport {one.port} "
        f"dnat {family} to {target}:{one.attempt.port}"
    )
