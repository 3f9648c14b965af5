"""What does the control plane say of this node's ENIs, to a node that may not ask the cloud?

Nodes of a centralized pool have no credentials. What there is in the cloud for them is in resources
of the cluster, as fresh as the control plane's last reading: the node's pool, and PodENIs. What
those cannot tell (security groups' rules, routes, free addresses of vSwitches) stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from terway.cli.place import Place
from terway.cli.read_kube import open_client
from terway.cli.snapshot import CloudView, InstanceView, MetadataENIView, Missing, SupplyView
from terway.kube.client import Selector
from terway.kube.crds import (
    POD_ENIS,
    POOL_NODES,
    Allocation,
    ENIInfo,
    NodeCap,
    NodeNetworkInterface,
    NodeStatus,
    PodENI,
    PoolNode,
)
from terway.model.eni import ENI, ENIStatus, ENIType, InstanceLimits
from terway.model.errors import TransientError
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

_NODE = "k8s.aliyun.com/node"  # label of a PodENI
_BOUND = "Bind"
_GONE = "Invalid"  # an address that the cloud does not have any more
_NO_KEYS = "this node has no credentials; ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET of yours do"
_STATUSES = {one.value: one for one in ENIStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the cluster has of a node. `pool` is None before the control plane has seen it."""

    pool: PoolNode | None
    pod_enis: tuple[PodENI, ...]


async def read_resources(place: Place) -> Resources:
    """Read the node's pool and its PodENIs. Raises TransientError where the API server is away."""
    async with open_client(place) as client:
        pool = await client.get(POOL_NODES, place.node_name)
        here = Selector(labels=f"{_NODE}={place.node_name}")
        pod_enis = await client.list(POD_ENIS, selector=here)
    return Resources(pool=pool, pod_enis=tuple(pod_enis.items))


def resource_members(found: Resources) -> Iterable[tuple[str, bytes]]:
    """Yield the resources as files of a support bundle."""
    if found.pool is not None:
        yield "pool-node.json", _pretty(found.pool)
    yield "podenis.json", _pretty(found.pod_enis)


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def central_view(found: Resources, instance: InstanceView) -> CloudView:
    """Return what the cloud has for a node, by the resources of the cluster.

    Raises TransientError where there are none.
    """
    pool = found.pool
    if pool is None:
        raise TransientError("nodes.network.alibabacloud.com: the control plane knows no such node")
    ours = [_of_pool(one, instance) for one in pool.status.network_interfaces.values()]
    ours += [one for each in found.pod_enis for one in _of_pod(each, instance)]
    known = {one.id for one in ours}
    others = (one for one in instance.enis if one.id not in known)
    primary = [_primary(one, instance) for one in others if one.vswitch_id == instance.vswitch_id]
    return CloudView(
        enis=(*primary[:1], *ours),
        limits=_limits(pool.spec.node_cap, instance),
        refusals=tuple(Missing(source=part, reason=_NO_KEYS) for part in ("groups", "routes")),
        supply=_supply(pool.status),
    )


def _supply(status: NodeStatus) -> SupplyView:
    troubles = (
        f"{eni_id} {name} since {one.observed_time}: {one.message}"
        for eni_id, eni in sorted(status.network_interfaces.items())
        for name, one in sorted(eni.conditions.items())
    )
    return SupplyView(
        reason=status.reason,
        compared_at=status.last_sync_open_api_time or "",
        compares_at=status.next_sync_open_api_time or "",
        shrinks_at=status.next_idle_ip_reclaim_time or "",
        warm_up=status.warm_up_target,
        warmed_up=status.warm_up_allocated_count,
        troubles=tuple(troubles),
    )


def _primary(primary: MetadataENIView, instance: InstanceView) -> ENI:
    """Return the ENI that is no pool's business, as the metadata service has it."""
    v4 = tuple(one for one in primary.addresses if isinstance(one, IPv4Address))
    return ENI(
        id=ENIId(primary.id),
        mac=MacAddress(primary.mac),
        type=ENIType.PRIMARY,
        status=ENIStatus.IN_USE,
        vpc_id=VpcId(instance.vpc_id),
        vswitch_id=VSwitchId(primary.vswitch_id),
        zone_id=ZoneId(instance.zone_id),
        primary_ipv4=v4[0] if v4 else IPv4Address(0),
        ipv4=v4,
        ipv6=tuple(one for one in primary.addresses if isinstance(one, IPv6Address)),
        instance_id=InstanceId(instance.instance_id),
    )


def _of_pool(shown: NodeNetworkInterface, instance: InstanceView) -> ENI:
    v4 = tuple(IPv4Address(one.ip) for one in shown.ipv4.values() if one.status != _GONE)
    v6 = tuple(IPv6Address(one.ip) for one in shown.ipv6.values() if one.status != _GONE)
    prefixes = [one for one in (*shown.ipv4_prefix, *shown.ipv6_prefix) if one.status != _GONE]
    return ENI(
        id=ENIId(shown.id),
        mac=MacAddress(shown.mac_address),
        type=ENIType(shown.type or ENIType.SECONDARY.value),
        status=_STATUSES.get(shown.status, ENIStatus.ATTACHING),
        vpc_id=VpcId(instance.vpc_id),
        vswitch_id=VSwitchId(shown.vswitch_id),
        zone_id=ZoneId(instance.zone_id),
        primary_ipv4=IPv4Address(shown.primary_ip_address or 0),
        ipv4=v4,
        ipv6=v6,
        ipv4_prefixes=tuple(IPv4Network(p.prefix) for p in prefixes if ":" not in p.prefix),
        ipv6_prefixes=tuple(IPv6Network(p.prefix) for p in prefixes if ":" in p.prefix),
        security_group_ids=tuple(map(SecurityGroupId, shown.security_group_ids)),
        instance_id=InstanceId(instance.instance_id),
        traffic_mode=shown.traffic_mode or "Standard",
    )


def _of_pod(found: PodENI, instance: InstanceView) -> Iterable[ENI]:
    """Yield the ENIs of a pod that are attached to this instance."""
    if found.status.phase != _BOUND or found.status.instance_id != instance.instance_id:
        return
    for one in found.spec.allocations:
        if one.eni.id:
            info = found.status.eni_infos.get(one.eni.id, ENIInfo())
            yield _of_allocation(one, info, found.status.trunk_eni_id, instance)


def _of_allocation(one: Allocation, info: ENIInfo, trunk: str, instance: InstanceView) -> ENI:
    is_member = info.type == ENIType.MEMBER.value
    return ENI(
        id=ENIId(one.eni.id),
        mac=MacAddress(one.eni.mac),
        type=ENIType.MEMBER if is_member else ENIType.SECONDARY,
        status=ENIStatus.IN_USE,
        vpc_id=VpcId(one.eni.vpc_id),
        vswitch_id=VSwitchId(one.eni.vswitch_id),
        zone_id=ZoneId(one.eni.zone),
        primary_ipv4=IPv4Address(one.ipv4 or 0),
        ipv4=(IPv4Address(one.ipv4),) if one.ipv4 else (),
        ipv6=(IPv6Address(one.ipv6),) if one.ipv6 else (),
        security_group_ids=tuple(map(SecurityGroupId, one.eni.security_group_ids)),
        instance_id=InstanceId(instance.instance_id),
        trunk_eni_id=ENIId(trunk) if is_member and trunk else None,
        device_index=info.vid if is_member else None,
    )


def _limits(cap: NodeCap, instance: InstanceView) -> InstanceLimits | None:
    if not cap.adapters:
        return None
    return InstanceLimits(
        instance_type=instance.instance_type,
        eni_quantity=cap.adapters,
        eni_private_ip_address_quantity=cap.ipv4_per_adapter,
        eni_ipv6_address_quantity=cap.ipv6_per_adapter,
        eni_trunk_supported=cap.max_member_adapter_limit > 0,
        eni_total_quantity=cap.total_adapters,
        eri_quantity=cap.eri_quantity,
    )
