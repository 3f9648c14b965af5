"""What is there, in the cloud and in the cluster, that values are held against?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from terway.cli.account import Account
from terway.cli.chart import values as v
from terway.cloud.inspect import Permission
from terway.cloud.network import FoundVpc
from terway.config.declare import Values
from terway.kube.client import KubeClient
from terway.kube.resource import NODES
from terway.model.eni import InstanceLimits, VSwitch
from terway.model.ids import SecurityGroupId, VpcId, VSwitchId, ZoneId

TYPE_LABEL, _ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
_EXCLUSIVE = "k8s.aliyun.com/exclusive-mode-eni-type"
_IGNORED = "k8s.aliyun.com/ignore-by-terway"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNode:
    """A node that terway comes to. What its labels do not say is empty."""

    name: str
    instance_type: str
    zone_id: ZoneId
    is_exclusive: bool
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFacts:
    """What the cloud has of what values name. No VPC: there is no such one."""

    vpc: FoundVpc | None
    vswitches: Mapping[VSwitchId, VSwitch]
    group_ids: frozenset[SecurityGroupId]
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it. None: nobody was asked."""

    cloud: CloudFacts | None = None
    nodes: tuple[KnownNode, ...] | None = None
    types: Mapping[str, InstanceLimits] = field(default_factory=dict)
    knows_trunks: bool = True  # of the types; a published table does not say it of all


async def read_cloud_facts(said: Values, account: Account) -> CloudFacts:
    """Ask the cloud. Raises VpcError as its clients do."""
    vpc_id = VpcId(said[v.VPC_ID])
    ids = [VSwitchId(one) for of_zone in said[v.VSWITCHES].values() for one in of_zone]
    found = await account.ecs.describe_vswitches(dict.fromkeys(ids))
    vpc = await account.network.vpc(vpc_id) if vpc_id else None
    return CloudFacts(
        vpc=vpc,
        vswitches={one.id: one for one in found},
        group_ids=await account.network.group_ids(vpc_id) if vpc else frozenset(),
        permissions=await account.inspector.permissions(),
    )


async def read_nodes(client: KubeClient) -> tuple[KnownNode, ...]:
    """Ask the cluster for the nodes that terway comes to."""
    found = (await client.list(NODES.typed(dict[str, Any]))).items
    return tuple(_nodes(found))


def _nodes(found: Iterable[Mapping[str, Any]]) -> Iterable[KnownNode]:
    for one in found:
        labels = one["metadata"].get("labels") or {}
        if labels.get(_IGNORED) == "true" or labels.get("type") == "virtual-kubelet":
            continue
        yield KnownNode(
            name=one["metadata"]["name"],
            instance_type=labels.get(TYPE_LABEL, ""),
            zone_id=ZoneId(labels.get(_ZONE, "")),
            is_exclusive=labels.get(_EXCLUSIVE, "").lower() == "enionly",
            kernel=one.get("status", {}).get("nodeInfo", {}).get("kernelVersion", ""),
        )
