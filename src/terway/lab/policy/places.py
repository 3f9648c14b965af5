"""Which network namespaces are there? For a process that makes sockets in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from terway.kube.resource import PODS
from terway.lab.policy.inforce import SOCKET
from terway.lab.world.lab import Lab
from terway.lab.world.plan import EXCLUSIVE_LABELS
from terway.model.errors import UsageError


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
        "pods": await _netns(lab, [*pods]),
    }


async def _netns(lab: Lab, asked: Sequence[Sequence[str]]) -> list[str]:
    """Return the namespaces' paths of pods that run; UsageError names one that does not."""
    if not asked:
        return []
    listed = (await lab.kube.list(PODS)).items
    known = {(one.spec.node_name, one.metadata.namespace, one.metadata.name): one for one in listed}
    for node, namespace, name in asked:
        if (node, namespace, name) not in known:
            raise UsageError(f"pod {namespace}/{name} is not on {node}")
    found = [known[node, namespace, name] for node, namespace, name in asked]
    return [one.netns_path for one in await asyncio.gather(*map(lab.handle, found))]
