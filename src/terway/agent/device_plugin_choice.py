"""How many pods with ENIs of their own can this node have, and who is told?

    a kubelet with device plugins      the kubelet, by `device_plugin`
    none, and the node's own pool      the API: the node's status is patched
    none, and a control plane          nobody: the control plane patches it

gRPC is 2 MB of a terwayd: it is imported where there is something to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import structlog

from terway.capacity.pods import eni_slots, exclusive_pods, member_pods
from terway.kube.client import KubeClient
from terway.kube.resource import NODES
from terway.model.eni import InstanceLimits
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.model.interface import Mode

FOLDER = Path("/var/lib/kubelet/device-plugins")
ENI, MEMBER_ENI, ERDMA = "aliyun/eni", "aliyun/member-eni", "aliyun/erdma"
TELL_EVERY_S = 300.0  # a kubelet that registers its node anew forgets what others wrote
LOOK_EVERY_S = 5.0  # at how many there are

Counts = Mapping[str, Callable[[], int]]
Pooled = Callable[[], int | None]

_log = structlog.get_logger("device_plugin")


def advertised(
    limits: InstanceLimits,
    mode: Mode,
    *,
    has_trunk: bool,
    pooled: Pooled | None,
    rdma_pods: int = 0,
) -> Counts:
    """Return how many of which resource the node has; each is asked anew, for it may change.

    EniQuantity - 1 whole ENIs, or EniTotalQuantity - EniQuantity members of a trunk. Where pods
    share ENIs, one can have whole what is left of the slots, of which `pooled` are not: none as
    long as nobody knows. Without `pooled` somebody else says it. `rdma_pods` are those that the
    pool's ENIs for RDMA have addresses for.
    """
    if mode is Mode.EXCLUSIVE:
        return {ENI: partial(exclusive_pods, limits)}
    members = member_pods(limits) if has_trunk and limits.eni_trunk_supported else 0
    fixed = {MEMBER_ENI: members, ERDMA: rdma_pods}
    counts: Counts = {name: partial(int, count) for name, count in fixed.items() if count}
    return counts if pooled is None else {**counts, ENI: partial(_left, limits, pooled)}


def _left(limits: InstanceLimits, pooled: Pooled) -> int:
    count = pooled()
    return 0 if count is None else max(0, eni_slots(limits) - count)


async def advertise(
    counts: Counts,
    *,
    client: KubeClient,
    node: NodeName,
    is_centralized: bool,
    has_plugins: bool = True,
    folder: Path = FOLDER,
) -> None:
    """Tell `counts` of the node to whoever has to know, until cancelled or nobody has.

    `has_plugins` false: the kubelet is not to be told.
    """
    if has_plugins and _is_there(folder):
        await _serve(counts, folder)
    elif not is_centralized:
        await _keep_told(counts, client, node)


def _is_there(folder: Path) -> bool:
    return folder.is_dir()


async def _serve(counts: Counts, folder: Path) -> None:
    from terway.agent.device_plugin import DevicePlugin  # late: see above

    async with asyncio.TaskGroup() as tasks:
        for resource, count in counts.items():
            plugin = DevicePlugin(resource, count, folder=folder)
            tasks.create_task(plugin.run(), name=resource)


async def _keep_told(counts: Counts, client: KubeClient, node: NodeName) -> None:
    told: Mapping[str, int] = {}
    left_s = 0.0
    while True:
        now = {resource: count() for resource, count in counts.items()}
        if now != told or left_s <= 0:
            try:
                await tell_node(now, client, node)
                told, left_s = now, TELL_EVERY_S
            except VpcError as error:
                _log.warning("device_plugin.node_not_told", node=node, error=str(error))
        await asyncio.sleep(LOOK_EVERY_S)
        left_s -= LOOK_EVERY_S


async def tell_node(counts: Mapping[str, int], client: KubeClient, node: NodeName) -> None:
    """Write how many there are into the node's status. Idempotent."""
    said = {resource: str(count) for resource, count in counts.items()}
    status = {"status": {"capacity": said, "allocatable": said}}
    await client.patch(NODES, node, status, subresource="status")
