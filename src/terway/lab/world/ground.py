"""What is there before the first node? The VPC of the plan, made in the cloud by its own API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from terway.capacity.pods import Mode, require_capacity
from terway.cloud import permissions
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.fabric_view import mtu_of
from terway.lab.cloud.instance_types import Catalogue, InstanceType, read_catalogue
from terway.lab.cloud.provision import (
    Instance,
    authorize,
    create_security_group,
    create_vpc,
    create_vswitch,
    enable_jumbo_frames,
    run_instance,
)
from terway.lab.flannel.plan import BLOCK_PODS, CLUSTER_NETWORK
from terway.lab.flannel.vpc import ROLE_ACTIONS as ROUTE_ACTIONS
from terway.lab.node.spec import NodeSpec
from terway.lab.world.plan import (
    EXCLUSIVE_LABELS,
    KUBE_API,
    KUBE_API_PORT,
    OPENAPI,
    ROLE,
    LabPlan,
    NodePool,
    PodNetwork,
)
from terway.lab.world.zones import (
    VSwitchWish,
    ZoneGround,
    check_zones,
    lay_vswitches,
    lay_zones,
)
from terway.model.address import Family, IPStack, gateway_of
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId, VpcId, VSwitchId

_AGENT_ARGV = {
    PodNetwork.TERWAY: ("terway.agent.main", "--config", "/etc/eni/eni_conf"),
    PodNetwork.FLANNEL_VXLAN: ("terway.lab.flannel", "vxlan"),
    PodNetwork.FLANNEL_VPC: ("terway.lab.flannel", "vpc"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The ids of what the plan names; the vSwitches by themselves are those of its own zone."""

    vpc_id: VpcId
    node_vswitch_id: VSwitchId
    pod_vswitch_id: VSwitchId
    security_group_id: SecurityGroupId
    zones: Mapping[str, ZoneGround]
    vswitch_ids: Mapping[str, VSwitchId]  # of the plan's `vswitches`, by name


def lay_ground(cloud: Cloud, plan: LabPlan) -> Ground:
    """Make VPC, vSwitches, security group and the instances' role.

    The group accepts ICMP and the whole VPC, as the one that a managed cluster makes does.
    UsageError when the plan's instance type cannot be had.
    """
    _check_type(cloud, plan)
    check_zones(
        (zone.zone_id for zone in plan.all_zones), {pool.name: pool.zone_id for pool in plan.pools}
    )
    has_v6 = Family.V6 in plan.stack.families
    is_routed = plan.network is PodNetwork.FLANNEL_VPC
    cloud.world.keyring.create_role(
        ROLE, allow=(*_node_actions(plan), *(ROUTE_ACTIONS if is_routed else ()))
    )
    vpc_id = create_vpc(
        cloud,
        plan.vpc_cidr,
        name=plan.name,
        ipv6=has_v6,
        ipv6_cidr=plan.ipv6_cidr if has_v6 else None,
    )

    ground = _lay_vswitches(cloud, plan, vpc_id)
    for inside in (plan.vpc_cidr, *((CLUSTER_NETWORK,) if is_routed else ())):
        rule = {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceCidrIp": str(inside)}
        authorize(cloud, ground.security_group_id, rule)
    return ground


def _lay_vswitches(cloud: Cloud, plan: LabPlan, vpc_id: VpcId) -> Ground:
    has_v6 = Family.V6 in plan.stack.families

    def make(wish: VSwitchWish) -> VSwitchId:
        ipv6_number = wish.number if has_v6 else None
        return create_vswitch(
            cloud,
            vpc_id,
            wish.cidr,
            zone_id=wish.zone_id,
            ipv6_number=ipv6_number,
            name=wish.name,
        )

    zones = lay_zones(plan.all_zones, make)
    return Ground(
        vpc_id=vpc_id,
        node_vswitch_id=zones[plan.zone_id].node_vswitch_id,
        pod_vswitch_id=zones[plan.zone_id].pod_vswitch_id,
        security_group_id=create_security_group(cloud, vpc_id, name=plan.name),
        zones=zones,
        vswitch_ids=lay_vswitches(plan.vswitches, plan.zone_id, make),
    )


def _node_actions(plan: LabPlan) -> tuple[str, ...]:
    """Return what nodes may ask of the cloud: nothing where a control plane does."""
    return () if plan.control_plane else permissions.AGENT


def make_instance(cloud: Cloud, plan: LabPlan, ground: Ground, name: str) -> Instance:
    """Run an instance on the node vSwitch of its zone."""
    pool = plan.pool_of(name)
    instance = run_instance(
        cloud,
        instance_type=pool.instance_type,
        vswitch_id=ground.zones[plan.zone_of(name)].node_vswitch_id,
        security_group_ids=(ground.security_group_id,),
        name=name,
        ipv6=Family.V6 in plan.stack.families,
        role=ROLE,
    )
    if pool.jumbo_frames:
        enable_jumbo_frames(cloud, instance.id)
    return instance


def node_spec(
    cloud: Cloud,
    plan: LabPlan,
    ground: Ground,
    instance: Instance,
    *,
    name: str,
    kubeconfig: str,
    agent_kubeconfig: str,
    log_dir: str,
) -> NodeSpec:
    """Return what the node has to know."""
    pool = plan.pool_of(name)
    kind = cloud.world.type_of(pool.instance_type)
    is_terway = plan.network is PodNetwork.TERWAY
    addresses, gateways = eth0_of(cloud, instance)
    return NodeSpec(
        name=name,
        lab=plan.name,
        region_id=plan.region_id,
        zone_id=plan.zone_of(name),
        instance_id=instance.id,
        instance_type=pool.instance_type,
        cpu=kind.cpu_core_count,
        memory_gib=kind.memory_gib,
        max_pods=_max_pods(kind, plan.stack, pool) if is_terway else BLOCK_PODS,
        labels=pool.labels,
        mac=instance.mac,
        addresses=addresses,
        gateways=gateways,
        api_server=f"https://{KUBE_API}:{KUBE_API_PORT}",
        kubeconfig=kubeconfig,
        agent_kubeconfig=agent_kubeconfig,
        ecs_endpoint=f"http://{OPENAPI}",
        log_dir=log_dir,
        agent=plan.agent,
        agent_argv=(sys.executable, "-m", *_AGENT_ARGV[plan.network]),
        mtu_bytes=mtu_of(cloud.world.state, instance.id, cloud.habits),
    )


def types_of(plan: LabPlan) -> Catalogue:
    """Return the instance types that the lab's cloud has."""
    known = read_catalogue()
    kind = known.get(plan.instance_type)
    if kind is None or not plan.erdma:
        return known
    return {**known, kind.id: replace(kind, eri_quantity=plan.erdma)}


def _check_type(cloud: Cloud, plan: LabPlan) -> None:
    """Refuse a type that instances cannot have, once, before each of them would be refused."""
    for pool in (plan.pool_of("node"), *plan.pools):
        kind = cloud.world.types.get(pool.instance_type)
        if kind is None:
            raise _unknown_type(cloud, pool.instance_type)
        if not plan.cloud_only:
            _max_pods(kind, plan.stack, pool)
            if plan.agent and plan.network is PodNetwork.TERWAY:
                mode = Mode.EXCLUSIVE if _is_exclusive(pool) else Mode.SHARED
                require_capacity(_limits_of(kind), mode, plan.stack)


def _unknown_type(cloud: Cloud, name: str) -> UsageError:
    near = get_close_matches(name, cloud.world.types) or [LabPlan().instance_type]
    return UsageError(
        f"instance type {name!r} does not exist; take one such as {', '.join(near)}",
        field="instance-type",
    )


def _is_exclusive(pool: NodePool) -> bool:
    return pool.labels.items() >= EXCLUSIVE_LABELS.items()


def _limits_of(kind: InstanceType) -> InstanceLimits:
    return InstanceLimits(
        instance_type=kind.id,
        eni_quantity=kind.eni_quantity,
        eni_private_ip_address_quantity=kind.eni_private_ip_address_quantity or 0,
        eni_ipv6_address_quantity=kind.eni_ipv6_address_quantity or 0,
    )


def _max_pods(kind: InstanceType, stack: IPStack, pool: NodePool) -> int:
    """Return the pods of a node: an ENI each, or an address of those beside the primary one."""
    if _is_exclusive(pool):
        return kind.eni_quantity - 1
    ipv4, ipv6 = kind.eni_private_ip_address_quantity, kind.eni_ipv6_address_quantity
    if ipv4 is None:
        raise UsageError(f"{kind.id}: addresses per ENI are not published", field="instance-type")
    if stack is IPStack.DUAL and ipv6 != ipv4:
        raise UsageError(
            f"{kind.id}: dual stack needs as many IPv6 as IPv4 addresses per ENI, it has {ipv6} "
            f"and {ipv4}; take --stack ipv4, or a type such as ecs.g7.2xlarge",
            field="instance-type",
        )
    return (kind.eni_quantity - 1) * ipv4


def eth0_of(cloud: Cloud, instance: Instance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return addresses with prefix length, and gateways, of an instance's primary ENI."""
    state = cloud.world.state
    vswitch = state.vswitches[state.instances[instance.id].vswitch_id]
    addresses = [f"{instance.ipv4}/{vswitch.cidr.prefixlen}"]
    gateways = [str(gateway_of(vswitch.cidr))]
    if instance.ipv6 is not None and vswitch.ipv6_cidr is not None:
        addresses.append(f"{instance.ipv6}/{vswitch.ipv6_cidr.prefixlen}")
        gateways.append(str(gateway_of(vswitch.ipv6_cidr)))
    return tuple(addresses), tuple(gateways)
