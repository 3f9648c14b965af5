"""How is a node asked for its health? With a real request, from the load balancers' own address."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from ipaddress import IPv4Address

from terway.lab.balancer.forwarding import Probe
from terway.lab.world.sockets import connect_in

_TIMEOUT_S = 1.0
_ANSWER_BYTES = 4096


async def ask_all(
    probes: Collection[Probe], *, netns_path: str, source: IPv4Address
) -> dict[Probe, bool]:
    """Ask all at the same time; takes as long as the slowest, a second at most."""
    asked = sorted(probes, key=lambda one: (one.node, one.port))
    answers = await asyncio.gather(*(_ask(one, netns_path, source) for one in asked))
    return dict(zip(asked, answers, strict=True))


async def _ask(probe: Probe, netns_path: str, source: IPv4Address) -> bool:
    """Whether the node says that it serves: any answer but 200, or none, is a no."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            host = str(probe.address)
            reader, writer = await connect_in(netns_path, host, probe.port, source=str(source))
            try:
                words = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                writer.write(words.encode())
                status = await reader.read(_ANSWER_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ", 2)[1:2] == [b"200"]
