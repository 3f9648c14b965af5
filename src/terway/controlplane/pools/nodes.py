"""Controller `node`: the resource of each node, and what the node itself shows of its ENIs.

Node (core) ──instance, type──► Node (ours): metadata, capacities     the agent adds its wishes
Node (ours) ──trunk, flavor───► Node (core): aliyun/eni, aliyun/member-eni, annotations
Node (core) gone ─────────────► Node (ours) deleted; it goes when its ENIs have (gone.py)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from terway.controlplane.budget import Turns
from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.pools import facts
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.ports import FleetPort
from terway.controlplane.pools.status import IN_USE
from terway.controlplane.ports import KubePort
from terway.kube.crds import NODE_FINALIZER, POOL_NODES, NodeMetadata, NodeSpec, PoolNode
from terway.kube.resource import NODES, ObjectKey, Resource
from terway.kube.types import Node, ObjectMeta
from terway.model.eni import ENIType, InstanceLimits
from terway.model.errors import TransientError

TRUNK_ON = "k8s.aliyun.com/trunk-on"
MAX_AVAILABLE_IP = "k8s.aliyun.com/max-available-ip"
_LOOK_AGAIN_S = 30.0  # for what the cloud controller has not written yet

_log = structlog.get_logger("nodes")


class NodeController:
    """Controller `node`."""

    name = "node"

    def __init__(
        self,
        kube: KubePort,
        cloud: FleetPort,
        budget: Turns,
        informers: Informers,
        *,
        gone: Gone,
        nodes: Resource[Node] = NODES,
        node_labels: Mapping[str, str] | None = None,
        concurrency: int = 10,
    ) -> None:
        self.concurrency = concurrency
        self._kube = kube
        self._cloud = cloud
        self._budget = budget
        self._gone = gone
        self._nodes = informers.of(nodes)
        self._pool_nodes = informers.of(POOL_NODES)
        self._labels = node_labels or {}
        self._limits: dict[str, InstanceLimits] = {}
        self._turn = asyncio.Lock()
        self.watches: tuple[Watch, ...] = (
            Watch(resource=nodes, keys_of=own_key),
            Watch(resource=POOL_NODES, keys_of=own_key),
        )

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Look at one node."""
        node, ours = self._nodes.get(key.name), self._pool_nodes.get(key.name)
        if node is None or (ours is not None and ours.metadata.deletion_timestamp):
            return DONE if ours is None else await self._gone.leave(ours, node)
        if not facts.is_ours(node, self._labels):
            return DONE
        meta = facts.metadata_of(node)
        limits = await self._limits_of(node, meta) if meta is not None else None
        if meta is None or limits is None:
            return Outcome(again_in_s=_LOOK_AGAIN_S)
        labels = {
            name: value for name, value in node.metadata.labels.items() if name == facts.EXCLUSIVE
        }
        ours = await self._keep(key.name, ours, labels, meta, limits)
        await self._advertise(node, ours)
        return DONE

    async def _limits_of(self, node: Node, meta: NodeMetadata) -> InstanceLimits | None:
        found = facts.limits_in(node) or self._limits.get(meta.instance_type)
        if found is not None or not meta.instance_type:
            return found
        async with self._turn:  # nodes of one type come together
            if meta.instance_type not in self._limits:
                await self._budget.take("DescribeInstanceTypes", who=self.name)
                answer = await self._cloud.describe_instance_types((meta.instance_type,))
                if not answer:
                    text = f"node {node.metadata.name}: the cloud knows no type"
                    raise TransientError(f"{text} {meta.instance_type}")
                self._limits[meta.instance_type] = answer[0]
        return self._limits[meta.instance_type]

    async def _keep(
        self,
        name: str,
        ours: PoolNode | None,
        labels: dict[str, str],
        meta: NodeMetadata,
        limits: InstanceLimits,
    ) -> PoolNode:
        """Make the node's resource what the node is; what its agent wrote stays."""
        cap = facts.cap_of(limits)
        if ours is None:
            head = ObjectMeta(name=name, labels=labels, finalizers=(NODE_FINALIZER,))
            made = PoolNode(metadata=head, spec=NodeSpec(node_metadata=meta, node_cap=cap))
            created = await self._kube.create(POOL_NODES, made)
            _log.info("nodes.made", node=name, instance=meta.instance_id)
            return created
        patch: dict[str, Any] = {}
        if (ours.spec.node_metadata, ours.spec.node_cap) != (meta, cap):
            spec = {"nodeMetadata": meta, "nodeCap": cap}
            patch["spec"] = msgspec.to_builtins(spec)
        head_patch: dict[str, Any] = {}
        if facts.missing(labels, ours.metadata.labels):
            head_patch["labels"] = labels
        if NODE_FINALIZER not in ours.metadata.finalizers:
            head_patch["finalizers"] = [*ours.metadata.finalizers, NODE_FINALIZER]
        if head_patch:
            patch["metadata"] = head_patch
        return await self._kube.patch(POOL_NODES, name, patch) if patch else ours

    async def _advertise(self, node: Node, ours: PoolNode) -> None:
        """Tell the scheduler, and people, what the node has."""
        name = node.metadata.name
        trunk = _trunk_of(ours)
        most = facts.max_available_ips(ours.spec, node.metadata.labels)
        annotations = {TRUNK_ON: trunk} if trunk else {}
        if most is not None:
            annotations[MAX_AVAILABLE_IP] = str(most)
        if facts.missing(annotations, node.metadata.annotations):
            await self._kube.patch(NODES, name, {"metadata": {"annotations": annotations}})
        counts = facts.device_counts(
            ours.spec,
            node.metadata.labels,
            has_trunk=bool(trunk),
            pooled=len(ours.status.network_interfaces),
        )
        if facts.missing(counts, node.status.capacity, node.status.allocatable):
            status = {"capacity": counts, "allocatable": counts}
            await self._kube.patch(NODES, name, {"status": status}, subresource="status")


def _trunk_of(ours: PoolNode) -> str:
    """Return the id of the trunk that is in use; empty for none."""
    found = ours.status.network_interfaces.values()
    trunks = (one for one in found if one.type == ENIType.TRUNK.value and one.status == IN_USE)
    return next((one.id for one in trunks), "")
