"""Which network namespaces are there? For a process that makes sockets in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from terway.lab.policy.inforce import SOCKET
from terway.lab.world.lab import Lab
from terway.lab.world.plan import EXCLUSIVE_LABELS


async def describe_places(lab: Lab, pods: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Return the nodes, and paths of the namespaces of pods: (node, namespace, name) each.

    Paths are such that any process of the machine's can open them.
    """
    return {
        "nodes": [
            {
                "name": node.name,
                "netns": node.netns_path,
                "socket": str(node.inside(SOCKET)) if node.spec.agent else "",
                "is_exclusive": node.spec.labels.items() >= EXCLUSIVE_LABELS.items(),
                "max_pods": node.spec.max_pods,
            }
            for node in lab.nodes.values()
        ],
        "pods": await asyncio.gather(*(_netns(lab, *pod) for pod in pods)),
    }


async def _netns(lab: Lab, node: str, namespace: str, name: str) -> str:
    handle = lab.node(node)
    found = await handle.request("pod", namespace=namespace, name=name)
    path = found["netns"]
    return str(handle.inside(path)) if path else handle.netns_path
