"""Which interfaces does a pod get, and what is each to be?

Decided at ADD from what the node is, what the pod's annotations wish and what the call says; then
journalled, and not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from terway.cni.call import Add
from terway.config.pod_bandwidth import override, parse_bandwidth, parse_priority
from terway.config.pod_networks import (
    POD_NETWORKS,
    PodNetwork,
    parse_metadata_access,
    parse_pod_networks,
)
from terway.kube.types import Pod
from terway.model.address import IPNetwork
from terway.model.attachment import AttachmentKey, Lease
from terway.model.errors import UsageError
from terway.model.interface import UNLIMITED, Bandwidth, InterfaceSpec, Mode, Placement

# Programs know a pod by its second leg, which its first device has alone.
ONE_DEVICE = (
    "pods of this node have one ENI each with the eBPF data path: use a node with "
    "eniip_virtual_type veth, or members of a trunk on one whose pods share ENIs"
)
ERDMA_RESOURCE = "aliyun/erdma"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface to be made."""

    key: AttachmentKey
    spec: InterfaceSpec
    lease: Lease | None = None  # None: the pool's to give


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfacePolicy:
    """What the node makes of every pod. `routes` are those of its first interface.

    `bandwidth` is for pods that ask for no other. `has_programs`: policies are those of the eBPF
    data path, which see one device of a pod at most.
    """

    mode: Mode = Mode.VETH
    routes: tuple[IPNetwork, ...] = ()
    bandwidth: Bandwidth = UNLIMITED
    has_vlan_devices: bool = False  # members of a trunk: 8021q in the pod, and no veth
    has_programs: bool = False
    has_erdma: bool = False  # else pods that ask for RDMA get it from another controller


def interfaces_of(call: Add, pod: Pod | None, policy: InterfacePolicy) -> tuple[Interface, ...]:
    """Return the interfaces of the container, the one that the call names first.

    `pod` is None for a container that Kubernetes does not know: it has no wishes. Raises
    UsageError with the annotation's path for a wish that cannot be had.
    """
    annotations = {} if pod is None else pod.metadata.annotations
    networks = parse_pod_networks(annotations, primary=call.key.ifname)
    common = common_spec(call, annotations, policy)
    if not networks:
        placement = Placement(is_erdma=policy.has_erdma and _asks_for_erdma(pod))
        spec = replace(common, routes=policy.routes, placement=placement)
        return (Interface(key=call.key, spec=spec),)
    if len(networks) > 1 and policy.mode is Mode.EXCLUSIVE:
        names = ", ".join(one.interface for one in networks)
        rule = "pods of this node have one whole ENI each: put the pod on a node in shared mode"
        raise UsageError(f"{POD_NETWORKS} asks for {names}: {rule}", field=POD_NETWORKS)
    common = replace(common, is_one_of_several=len(networks) > 1)
    if len(networks) > 1 and policy.mode is Mode.IPVLAN:
        # Tables inside a pod lead to the node, which knows the ENI; a child knows only its own.
        common = replace(common, mode=Mode.DATAPATHV2)
    return tuple(_of_network(one, call, common, _routes(one, networks, policy)) for one in networks)


def _asks_for_erdma(pod: Pod | None) -> bool:
    """Return whether a container of the pod is limited to some of the device plugin's RDMA."""
    containers = () if pod is None else pod.spec.containers
    return any(str(one.resources.limits.get(ERDMA_RESOURCE, "0")) != "0" for one in containers)


def common_spec(
    call: Add, annotations: Mapping[str, str], policy: InterfacePolicy
) -> InterfaceSpec:
    """Return what all interfaces of a pod have in common."""
    return InterfaceSpec(
        mode=policy.mode,
        has_metadata=parse_metadata_access(annotations),
        bandwidth=override(parse_bandwidth(annotations, policy.bandwidth), call.conf.bandwidth),
        priority=parse_priority(annotations),
    )


def _of_network(
    network: PodNetwork, call: Add, common: InterfaceSpec, routes: tuple[IPNetwork, ...]
) -> Interface:
    is_primary = network.interface == call.key.ifname
    spec = replace(
        common,
        parent="" if is_primary else call.key.ifname,
        has_default_route=network.has_default_route,
        routes=routes,
        placement=Placement(
            vswitch_ids=network.vswitch_ids,
            security_group_ids=network.security_group_ids,
            is_erdma=network.is_erdma,
        ),
    )
    return Interface(key=replace(call.key, ifname=network.interface), spec=spec)


def _routes(
    network: PodNetwork, networks: tuple[PodNetwork, ...], policy: InterfacePolicy
) -> tuple[IPNetwork, ...]:
    """Return the routes by an interface: by the first the node's, too, where the pod lets them."""
    if network is not networks[0]:
        return network.routes
    asked = {route for one in networks for route in one.routes}
    return (*network.routes, *(route for route in policy.routes if route not in asked))
