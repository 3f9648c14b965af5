"""Who knows which ENI is the node's trunk, where the node sees to its own supply?

The control plane attaches members to it by the node's annotation `k8s.aliyun.com/trunk-on`, which
this writes. Source: upstream's daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from terway.ipam.pool import Pool
from terway.ipam.values import ENIPhase
from terway.kube.client import KubeClient
from terway.kube.resource import NODES
from terway.model.eni import ENIType
from terway.model.errors import VpcError
from terway.model.ids import NodeName

TRUNK_ON = "k8s.aliyun.com/trunk-on"
LOOK_EVERY_S = 5.0

_log = structlog.get_logger("node")


def trunk_of(pool: Pool) -> str:
    """Return the id of the trunk that is in use; empty for none."""
    trunks = (eni for eni in pool.enis.values() if eni.type is ENIType.TRUNK)
    return next((eni.id for eni in trunks if eni.phase is ENIPhase.IN_USE), "")


async def note_trunk(client: KubeClient, node: NodeName, pool: Callable[[], Pool]) -> None:
    """Write the annotation whenever another trunk is in use, until cancelled."""
    said = ""
    while True:
        trunk = trunk_of(pool())
        if trunk and trunk != said:
            try:
                await client.patch(NODES, node, {"metadata": {"annotations": {TRUNK_ON: trunk}}})
                said = trunk
            except VpcError as error:
                _log.warning("node.trunk_not_noted", node=node, error=str(error))
        await asyncio.sleep(LOOK_EVERY_S)
