"""Who translates the service addresses of a case? Each node, as a kube-proxy there would.

A table of nftables in the nodes' namespaces, of this module's own: destinations only, in front of
routing, so that policy sees the pod behind and the client's own address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from terway.lab.policy.cases import Via
from terway.lab.policy.ends import Ends
from terway.lab.policy.prober import Attempt
from terway.lab.policy.world import LabNode
from terway.lab.world.node import run_command
from terway.model.errors import UsageError
from terway.policy.flow import Flow

_TABLE = "inet terway_lab_services"
_HOOKS = (
    "type nat hook prerouting priority dstnat;",
    "type nat hook output priority -100;",
)


class Services:
    """The service addresses of one state, on all nodes."""

    def __init__(self) -> None:
        self._nodes: tuple[str, ...] = ()
        self._are_there = False

    def see(self, nodes: Iterable[LabNode]) -> None:
        """Take note of the nodes that are to translate."""
        self._nodes = tuple(one.netns for one in nodes)

    async def translate(self, wanted: Sequence[Attempt]) -> None:
        """Translate these addresses, and no others."""
        if not wanted and not self._are_there:
            return
        text = "\n".join((f"table {_TABLE}", f"delete table {_TABLE}", *_table(wanted), ""))
        self._are_there = bool(wanted)
        await asyncio.gather(
            *(run_command(["nsenter", f"--net={one}", "nft", "-f", "-"], stdin=text)
              for one in self._nodes)
        )  # fmt: skip


def translations(ends: Ends, services: Mapping[Flow, Via]) -> list[Attempt]:
    """Return the connections by way of service addresses. Those that cannot be made are left."""
    found = []
    for flow, via in services.items():
        with suppress(UsageError):  # it is the answer of that probe
            found.append(ends.attempt(flow, via))
    return found


def _table(wanted: Sequence[Attempt]) -> list[str]:
    if not wanted:
        return []
    rules = dict.fromkeys(_rule(one) for one in wanted)
    chains = [
        line
        for number, hook in enumerate(_HOOKS)
        for line in (f"chain c{number} {{", hook, *rules, "}")
    ]
    return [f"table {_TABLE} {{", *chains, "}"]


def _rule(one: Attempt) -> str:
    address, port = one.dialled
    family = "ip" if address.version == 4 else "ip6"
    target = str(one.destination) if family == "ip" else f"[{one.destination}]"
    return (
        f"meta l4proto {one.protocol.value.lower()} {family} daddr {address} th dport {port} "
        f"dnat {family} to {target}:{one.port}"
    )
