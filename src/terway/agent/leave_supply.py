"""How does a node take its supply into its own hands, which a control plane saw to before?

    agent                               control plane
    Node.spec.eni away ───────────────► begins no more calls for the node; when those that change
                                        something are answered:
    its own pool begins ◄────────────── Node.status says nothing, in a round of its own

An address that the agent gave back may be about to be taken: whoever sees it in the cloud must not
give it to a pod. And what the resource says is old when the node is supplied again some day, so
the agent notes that nothing before that round counts.
"""

from __future__ import annotations

import asyncio

import structlog

from terway.agent.supply import KeptRound
from terway.kube.client import KubeClient, PatchType
from terway.kube.crds import POOL_NODES, PoolNode
from terway.model.errors import VpcError
from terway.model.ids import NodeName

_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.5
_log = structlog.get_logger("supply")


async def leave_supply(client: KubeClient, node: NodeName, kept: KeptRound) -> None:
    """Return when nobody else calls the cloud for this node. Idempotent, and never an error.

    A control plane, or an API server, that does not answer in ten seconds is not waited for: pods
    are. Where there never was one, that is seen from one answer of the API server.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await _leave(client, node, kept)
    except (VpcError, TimeoutError) as error:
        why = str(error) or "terway-controlplane does not answer"
        _log.warning("supply.not_left", node=node, error=why)


async def _leave(client: KubeClient, node: NodeName, kept: KeptRound) -> None:
    found = await _ask(client, node)
    if found is None or not _says_something(found):
        return
    await kept.keep_after(found)
    while found is not None and _says_something(found):
        await asyncio.sleep(_LOOK_EVERY_S)
        found = await client.get(POOL_NODES, node)
    _log.info("supply.left", node=node)


async def _ask(client: KubeClient, node: NodeName) -> PoolNode | None:
    found = await client.get(POOL_NODES, node)
    if found is None or found.spec.eni is None:
        return found
    patch = [{"op": "remove", "path": "/spec/eni"}]
    return await client.patch(POOL_NODES, node, patch, kind=PatchType.JSON)


def _says_something(node: PoolNode) -> bool:
    return bool(node.status.network_interfaces or node.status.journal)
