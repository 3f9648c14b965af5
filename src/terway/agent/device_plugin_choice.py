"""How many pods with ENIs of their own can this node have, and who is told?

    a kubelet with device plugins      the kubelet, by `device_plugin`
    none, and the node's own pool      the API: the node's status is patched
    none, and a control plane          nobody: the control plane patches it

gRPC is 2 MB of a terwayd: it is imported where there is something to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import structlog

from terway.capacity.pods import exclusive_pods, member_pods
from terway.kube.client import KubeClient
from terway.kube.resource import NODES
from terway.model.eni import InstanceLimits
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.model.interface import Mode

FOLDER = Path("/var/lib/kubelet/device-plugins")
ENI, MEMBER_ENI = "aliyun/eni", "aliyun/member-eni"
TELL_EVERY_S = 300.0  # a kubelet that registers its node anew forgets what others wrote
_RETRY_S = 10.0

_log = structlog.get_logger("device_plugin")


def advertised(limits: InstanceLimits, mode: Mode, *, has_trunk: bool) -> dict[str, int]:
    """Return how many of which resource the node has; none where it gives no ENIs of their own.

    EniQuantity - 1 whole ENIs, or EniTotalQuantity - EniQuantity members of a trunk.
    """
    if mode is Mode.EXCLUSIVE:
        return {ENI: exclusive_pods(limits)}
    members = member_pods(limits) if has_trunk and limits.eni_trunk_supported else 0
    return {MEMBER_ENI: members} if members else {}


async def advertise(
    counts: Mapping[str, int],
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


async def _serve(counts: Mapping[str, int], folder: Path) -> None:
    from terway.agent.device_plugin import DevicePlugin  # late: see above

    async with asyncio.TaskGroup() as tasks:
        for resource, count in counts.items():
            plugin = DevicePlugin(resource, partial(int, count), folder=folder)
            tasks.create_task(plugin.run(), name=resource)


async def _keep_told(counts: Mapping[str, int], client: KubeClient, node: NodeName) -> None:
    while True:
        try:
            await tell_node(counts, client, node)
            wait_s = TELL_EVERY_S
        except VpcError as error:
            _log.warning("device_plugin.node_not_told", node=node, error=str(error))
            wait_s = _RETRY_S
        await asyncio.sleep(wait_s)


async def tell_node(counts: Mapping[str, int], client: KubeClient, node: NodeName) -> None:
    """Write how many there are into the node's status. Idempotent."""
    said = {resource: str(count) for resource, count in counts.items()}
    status = {"status": {"capacity": said, "allocatable": said}}
    await client.patch(NODES, node, status, subresource="status")
