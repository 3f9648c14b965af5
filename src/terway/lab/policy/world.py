"""How does a runner of cases reach a lab that is another process?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

from terway.model.address import IPNetwork

# Real addresses of ends outside that have, in a case, one that nobody can have: RFC 2544, RFC 3849.
SUBSTITUTES = (ip_network("198.18.0.0/15"), ip_network("2001:db8:ffff::/48"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNode:
    """A node of the lab; `socket` is terwayd's for tools, empty without terwayd."""

    name: str
    netns: str
    socket: str
    is_exclusive: bool
    max_pods: int


class Requests(Protocol):
    """Who asks the lab, and waits for its answer: `LabClient` does."""

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return the answer. VpcError with the lab's words when it refuses."""


class LabWorld:
    """A running lab."""

    def __init__(self, client: Requests) -> None:
        self._client = client
        self._outside: str | None = None

    async def nodes(self, *, is_exclusive: bool) -> tuple[LabNode, ...]:
        """Return the nodes of a mode."""
        found = await self._request("POST", "/places", {"pods": []})
        nodes = (LabNode(**one) for one in found["nodes"])
        return tuple(sorted_by_number(one for one in nodes if one.is_exclusive is is_exclusive))

    async def all_nodes(self) -> tuple[LabNode, ...]:
        """Return all nodes."""
        found = await self._request("POST", "/places", {"pods": []})
        return tuple(LabNode(**one) for one in found["nodes"])

    async def pod_netns(self, pods: Iterable[tuple[str, str, str]]) -> list[str]:
        """Return paths of network namespaces, for node, namespace and name of each pod."""
        found = await self._request("POST", "/places", {"pods": [*pods]})
        paths: list[str] = found["pods"]
        return paths

    async def outside_netns(self) -> str:
        """Return the path of the namespace of the host that is the rest of the world."""
        if self._outside is None:
            self._outside = (await self._request("POST", "/outside", {}))["netns"]
        return self._outside

    async def add_nodes(
        self, count: int, *, is_exclusive: bool, progress: Callable[[str], None]
    ) -> None:
        """Add nodes of a mode, one after the other."""
        prefix = "eni" if is_exclusive else "node"
        taken = {one.name for one in await self.all_nodes()}
        free = (name for number in range(1, 1000) if (name := f"{prefix}-{number}") not in taken)
        for _ in range(count):
            name = next(free)
            progress(f"adding {name} to the lab")
            await self._request("POST", "/nodes", {"name": name})

    async def ranges(self) -> tuple[IPNetwork, ...]:
        """Return the ranges in which addresses of the lab are."""
        vpc = (await self._request("GET", "/status"))["vpc"]
        inside = [vpc["cidr"], *vpc["service_cidrs"], *filter(None, [vpc["ipv6_cidr"]])]
        return (*map(ip_network, inside), *SUBSTITUTES)

    async def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return await asyncio.to_thread(self._client.request, method, path, body)


def sorted_by_number(nodes: Iterable[LabNode]) -> list[LabNode]:
    """Return nodes in the order of their numbers: node-2 before node-10."""
    return sorted(nodes, key=lambda one: (len(one.name), one.name))


def sockets_of(nodes: Iterable[LabNode]) -> dict[str, Path]:
    """Return the sockets of terwayd, by node."""
    return {one.name: Path(one.socket) for one in nodes if one.socket}
