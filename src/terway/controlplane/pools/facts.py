"""What is a node: which instance, of which type, where; and what does its type allow?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from terway.capacity.pods import PREFIX_ADDRESSES, member_pods
from terway.ipam.adopt import HIGH_PERFORMANCE
from terway.kube.crds import Flavor, NetworkCard, NodeCap, NodeMetadata, NodeSpec
from terway.kube.types import Node
from terway.model.eni import ENIType, InstanceLimits

TYPE_INFO = "alibabacloud.com/instance-type-info"  # annotation: the type, as the cloud has it
ENI, MEMBER_ENI, ERDMA = "aliyun/eni", "aliyun/member-eni", "aliyun/erdma"
EXCLUSIVE = "k8s.aliyun.com/exclusive-mode-eni-type"  # label
_IGNORE = "k8s.aliyun.com/ignore-by-terway"
_LINGJUN = "alibabacloud.com/lingjun-worker"
_TYPE = "node.kubernetes.io/instance-type"
_OLD_TYPE = "beta.kubernetes.io/instance-type"
_ZONE = "topology.kubernetes.io/zone"
_REGION = "topology.kubernetes.io/region"


def is_ours(node: Node, wanted: Mapping[str, str]) -> bool:
    """Return whether a node gets a pool: it is an instance, and nobody excludes it."""
    labels = node.metadata.labels
    if labels.get("type") == "virtual-kubelet" or labels.get(_LINGJUN) == "true":
        return False
    if labels.get(_IGNORE) == "true":
        return False
    return all(labels.get(name) == value for name, value in wanted.items())


def is_exclusive(labels: Mapping[str, str]) -> bool:
    """Return whether each pod of a node has an ENI of its own."""
    return labels.get(EXCLUSIVE, "").lower() == "enionly"


def metadata_of(node: Node) -> NodeMetadata | None:
    """Return which instance a node is; None as long as the cloud has not said so."""
    region, _, instance_id = node.spec.provider_id.rpartition("://")[2].partition(".")
    labels = node.metadata.labels
    if not instance_id:
        return None
    return NodeMetadata(
        region_id=labels.get(_REGION, "") or region,
        instance_type=labels.get(_TYPE, "") or labels.get(_OLD_TYPE, ""),
        instance_id=instance_id,
        zone_id=labels.get(_ZONE, ""),
    )


class _TypeInfo(msgspec.Struct, frozen=True, rename="pascal"):
    instance_type_id: str = ""
    eni_quantity: int = 0
    eni_private_ip_address_quantity: int = 0
    eni_ipv6_address_quantity: int = 0
    eni_trunk_supported: bool = False
    eni_total_quantity: int = 0
    eri_quantity: int = 0
    instance_bandwidth_rx: int = 0
    instance_bandwidth_tx: int = 0


def limits_in(node: Node) -> InstanceLimits | None:
    """Return the limits that an annotation of the node tells; None where there is none."""
    text = node.metadata.annotations.get(TYPE_INFO, "")
    try:
        found = msgspec.json.decode(text, type=_TypeInfo) if text else _TypeInfo()
    except msgspec.MsgspecError:
        return None
    if not found.eni_quantity:
        return None
    return InstanceLimits(
        instance_type=found.instance_type_id,
        eni_quantity=found.eni_quantity,
        eni_private_ip_address_quantity=found.eni_private_ip_address_quantity,
        eni_ipv6_address_quantity=found.eni_ipv6_address_quantity,
        eni_trunk_supported=found.eni_trunk_supported,
        eni_total_quantity=found.eni_total_quantity,
        eri_quantity=found.eri_quantity,
        bandwidth_rx_kbits=found.instance_bandwidth_rx,
        bandwidth_tx_kbits=found.instance_bandwidth_tx,
    )


def cap_of(limits: InstanceLimits) -> NodeCap:
    """Return the limits as the node's resource has them."""
    return NodeCap(
        adapters=limits.eni_quantity,
        eri_quantity=limits.eri_quantity,
        total_adapters=limits.eni_total_quantity,
        ipv4_per_adapter=limits.eni_private_ip_address_quantity,
        ipv6_per_adapter=limits.eni_ipv6_address_quantity,
        member_adapter_limit=member_pods(limits),
        max_member_adapter_limit=max(0, limits.eni_total_quantity - 2)
        if limits.eni_trunk_supported
        else 0,
        instance_bandwidth_rx=limits.bandwidth_rx_kbits,
        instance_bandwidth_tx=limits.bandwidth_tx_kbits,
        network_cards=tuple(NetworkCard(index=one) for one in limits.network_cards),
        network_cards_count=len(limits.network_cards) or None,
    )


def max_available_ips(spec: NodeSpec, labels: Mapping[str, str]) -> int | None:
    """Return for how many pods the node can have addresses; None before its agent has spoken."""
    if spec.eni is None:
        return None
    cap = spec.node_cap
    if spec.eni.enable_ip_prefix:
        return max(0, cap.ipv4_per_adapter - 1) * PREFIX_ADDRESSES * max(0, cap.total_adapters - 1)
    standard = _count(spec.flavor, ENIType.SECONDARY)
    if is_exclusive(labels):
        return standard
    return (standard + _count(spec.flavor, ENIType.TRUNK)) * cap.ipv4_per_adapter


def _count(flavor: tuple[Flavor, ...], kind: ENIType) -> int:
    found = (one for one in flavor if one.network_interface_type == kind.value)
    return sum(one.count for one in found if one.network_interface_traffic_mode != HIGH_PERFORMANCE)


def device_counts(
    spec: NodeSpec, labels: Mapping[str, str], *, has_trunk: bool, pooled: int = 0
) -> dict[str, str]:
    """Return the extended resources of the node that pods ask for.

    Where pods share ENIs, of which the pool has `pooled`, a pod can have whole what is left of the
    slots. That is said when the trunk, which comes first, is there; none before. Pods with RDMA
    are as many as the ENIs for it have addresses; upstream says EriQuantity times those, of which
    it has fewer ENIs.
    """
    counts: dict[str, str] = {}
    if is_exclusive(labels) and spec.eni is not None:
        counts[ENI] = str(_count(spec.flavor, ENIType.SECONDARY))
    elif spec.eni is not None and (has_trunk or not _count(spec.flavor, ENIType.TRUNK)):
        counts[ENI] = str(max(0, spec.node_cap.adapters - 1 - pooled))
    if has_trunk:
        counts[MEMBER_ENI] = str(spec.node_cap.member_adapter_limit)
    if spec.eni is not None and spec.eni.enable_erdma and not is_exclusive(labels):
        counts[ERDMA] = str(_rdma_enis(spec.flavor) * _pods_per_eni(spec))
    return counts


def _rdma_enis(flavor: tuple[Flavor, ...]) -> int:
    return sum(
        one.count for one in flavor if one.network_interface_traffic_mode == HIGH_PERFORMANCE
    )


def _pods_per_eni(spec: NodeSpec) -> int:
    cap, eni = spec.node_cap, spec.eni
    has_v6 = eni is not None and eni.enable_ipv6
    return min(cap.ipv4_per_adapter, cap.ipv6_per_adapter) if has_v6 else cap.ipv4_per_adapter


def missing(wanted: Mapping[str, str], *shown: Mapping[str, Any]) -> dict[str, str]:
    """Return what of `wanted` is not, or is otherwise, in one of `shown`."""
    return {
        name: value
        for name, value in wanted.items()
        if any(str(one.get(name, "")) != value for one in shown)
    }
