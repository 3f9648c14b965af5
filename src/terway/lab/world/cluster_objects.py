"""What does the lab put into the Kubernetes API itself? And takes out of somebody else's again.

Nodes and their leases are made by the nodes' kubelets; the ConfigMap eni-config by the lab.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.resource import CONFIG_MAPS, LEASES, NODES
from terway.lab.kubelet import projection
from terway.lab.kubelet.kubelet import LEASE_NAMESPACE
from terway.lab.world.ground import Ground
from terway.lab.world.plan import LabPlan, eni_config

_NAME, _NAMESPACE = projection.NAME, projection.NAMESPACE
Undo = Mapping[str, str | None]  # a patch of the data; None for a key that was not there


async def write_eni_config(kube: KubeClient, plan: LabPlan, ground: Ground) -> Undo | None:
    """Write eni-config from the plan; return how to make it as it was, None: it was not there."""
    data = eni_config(
        plan,
        vswitch_ids=(ground.pod_vswitch_id,),
        security_group_id=ground.security_group_id,
        of_zones={
            zone_id: (zone.pod_vswitch_id,)
            for zone_id, zone in ground.zones.items()
            if zone_id != plan.zone_id
        },
    )
    found = await kube.get(CONFIG_MAPS, _NAME, namespace=_NAMESPACE)
    if found is None:
        body: dict[str, Any] = {"metadata": {"name": _NAME, "namespace": _NAMESPACE}, "data": data}
        await kube.create(CONFIG_MAPS, body, namespace=_NAMESPACE)
        return None
    await kube.patch(CONFIG_MAPS, _NAME, {"data": data}, namespace=_NAMESPACE)
    return {key: found.data.get(key) for key in data}


async def take_out_nodes(kube: KubeClient, names: Iterable[str]) -> None:
    """Delete the Nodes and their leases; the cluster then collects the pods that were bound."""
    for name in names:
        await kube.delete(NODES, name)
        await kube.delete(LEASES, name, namespace=LEASE_NAMESPACE)


async def take_out_eni_config(kube: KubeClient, undo: Undo | None) -> None:
    """Make eni-config as `write_eni_config` found it."""
    if undo is None:
        await kube.delete(CONFIG_MAPS, _NAME, namespace=_NAMESPACE)
    else:
        await kube.patch(CONFIG_MAPS, _NAME, {"data": dict(undo)}, namespace=_NAMESPACE)
