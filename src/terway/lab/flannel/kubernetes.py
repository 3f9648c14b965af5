"""Which fields of a Node does a Flannel-style network need beside the agent's own?"""

from __future__ import annotations

from msgspec import Struct, field

from terway.kube.resource import NODES
from terway.kube.types import KubeObject, NodeStatus


class BlockSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The block of addresses that the controller manager gave a node."""

    pod_cidr: str = field(default="", name="podCIDR")


class BlockNode(KubeObject, frozen=True, kw_only=True):
    """core/v1 Node, as Flannel reads it."""

    spec: BlockSpec = field(default_factory=BlockSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


BLOCK_NODES = NODES.typed(BlockNode)
