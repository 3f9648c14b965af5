"""Which world does a lab begin with? The documentation's address plan, as values.

VPC 192.168.0.0/16, node vSwitch 192.168.0.0/19, pod vSwitch 192.168.32.0/19, service CIDR
172.21.0.0/20, an IPv6 /56. Source: ACK help, "Plan the network of an ACK managed cluster". It
plans no services of IPv6: theirs is a unique local range of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.world.zones import VSwitchPlan, ZonePlan, vswitch_from_json, zone_from_json
from terway.model.address import Family, IPNetwork, IPStack

VPC_CIDR = IPv4Network("192.168.0.0/16")
NODE_CIDR = IPv4Network("192.168.0.0/19")
POD_CIDR = IPv4Network("192.168.32.0/19")
SERVICE_CIDR = IPv4Network("172.21.0.0/20")
SERVICE_CIDR_V6 = IPv6Network("fd00:21::/112")  # 65,536 addresses: the most that are given
IPV6_CIDR = IPv6Network("2001:db8:0:100::/56")  # of the documentation's range, RFC 3849

# Addresses of load balancers, in the VPC and in no vSwitch.
BALANCER_CIDR = IPv4Network("192.168.255.0/24")
BALANCER_CIDR_V6 = IPv6Network("2001:db8:0:1ff::/64")

METADATA = IPv4Address("100.100.100.200")
OPENAPI = IPv4Address("100.100.0.10")
KUBE_API = IPv4Address("100.100.0.20")
KUBE_API_PORT = 6443
PROBER = IPv4Address("100.100.0.30")  # from where load balancers ask for health
PROBER_V6 = IPv6Address("fd00:100::30")
CONTROL_PLANE = IPv4Address("100.100.0.40")
ROLE = "terway-node"  # the RAM role of the instances


class PodNetwork(Enum):
    """Who gives pods their network: terwayd, or what it is to be compared with."""

    TERWAY = "terway"
    FLANNEL_VXLAN = "flannel-vxlan"
    FLANNEL_VPC = "flannel-vpc"


EXCLUSIVE_LABELS = {"k8s.aliyun.com/exclusive-mode-eni-type": "eniOnly"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """Nodes of another kind: named after the pool, numbered from 1."""

    name: str
    nodes: int
    instance_type: str = "ecs.g7.4xlarge"  # 8 ENIs: 7 pods with one each
    labels: dict[str, str] = field(default_factory=dict)
    jumbo_frames: bool = False  # 8500 bytes
    zone_id: str = ""  # empty: the plan's own

    def node_names(self) -> tuple[str, ...]:
        """Return the names of its nodes."""
        return tuple(f"{self.name}-{number}" for number in range(1, self.nodes + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlan:
    """What the lab is to be."""

    name: str = "lab"
    nodes: int = 3
    instance_type: str = "ecs.g7.2xlarge"  # 4 ENIs of 15 addresses in both families: 45 pods
    stack: IPStack = IPStack.DUAL
    region_id: str = "cn-hangzhou"
    zone_id: str = "cn-hangzhou-i"
    vpc_cidr: IPv4Network = VPC_CIDR
    node_cidr: IPv4Network = NODE_CIDR
    pod_cidr: IPv4Network = POD_CIDR
    service_cidr: IPv4Network = SERVICE_CIDR
    service_cidr_v6: IPv6Network = SERVICE_CIDR_V6
    ipv6_cidr: IPv6Network = IPV6_CIDR
    balancer_cidr: IPv4Network = BALANCER_CIDR
    balancer_cidr_v6: IPv6Network = BALANCER_CIDR_V6
    probe_interval_s: float = 2.0  # how often load balancers ask for health
    endpoints_per_slice: int = 100  # at most, as kube-controller-manager has it
    erdma: int = 0  # RDMA interfaces that the type is said to have: no source tells of any
    min_free: int = 2
    max_free: int = 10
    eni_conf: dict[str, object] = field(default_factory=dict)  # merged over the generated one
    cni: dict[str, object] = field(default_factory=dict)  # keys of our plugin's configuration
    chained: tuple[dict[str, object], ...] = ()  # CNI plugins after ours
    agent: bool = True
    network: PodNetwork = PodNetwork.TERWAY
    control_plane: bool = False  # with terway-controlplane, which then has the ENIs and balancers
    control_plane_conf: dict[str, object] = field(default_factory=dict)  # over the generated one
    cloud_only: bool = False  # without Kubernetes nodes, now and later
    kubeconfig: str = ""  # of another API server, in place of the embedded one
    pools: tuple[NodePool, ...] = ()  # beside the `nodes`
    zones: tuple[ZonePlan, ...] = ()  # beside `zone_id`, for pools
    vswitches: tuple[VSwitchPlan, ...] = ()  # for pods that ask for them
    ready_timeout_s: float = 120.0  # for all nodes together, at the start

    @property
    def service_cidrs(self) -> tuple[IPNetwork, ...]:
        """Return the ranges of services of the families that pods have, IPv4 first."""
        ranges: dict[Family, IPNetwork] = {
            Family.V4: self.service_cidr,
            Family.V6: self.service_cidr_v6,
        }
        return tuple(ranges[family] for family in self.stack.families)

    @property
    def balancer_cidrs(self) -> tuple[IPNetwork, ...]:
        """Return the ranges of load balancers' addresses, of the families that pods have."""
        ranges: dict[Family, IPNetwork] = {
            Family.V4: self.balancer_cidr,
            Family.V6: self.balancer_cidr_v6,
        }
        return tuple(ranges[family] for family in self.stack.families)

    @property
    def all_zones(self) -> tuple[ZonePlan, ...]:
        """Return the zones, the plan's own first."""
        own = ZonePlan(zone_id=self.zone_id, node_cidr=self.node_cidr, pod_cidr=self.pod_cidr)
        return (own, *self.zones)

    def zone_of(self, node: str) -> str:
        """Return the zone that a node is in."""
        return self.pool_of(node).zone_id or self.zone_id

    def node_names(self) -> tuple[str, ...]:
        """Return the names of the nodes that the lab begins with."""
        own = NodePool(name="node", nodes=self.nodes)
        return tuple(name for pool in (own, *self.pools) for name in pool.node_names())

    def pool_of(self, node: str) -> NodePool:
        """Return what kind of node `node` is: of the pool it is named after, else the plan's own.

        Nodes may be added to a pool that the plan did not have.
        """
        found = (pool for pool in self.pools if pool.name == node.rpartition("-")[0])
        own = NodePool(name="node", nodes=self.nodes, instance_type=self.instance_type)
        return next(found, own)


def plan_to_json(plan: LabPlan) -> str:
    """Return the plan as JSON, for the process that is to run it."""
    return json.dumps(asdict(plan), default=_to_text)


def plan_from_json(text: str) -> LabPlan:
    """Rebuild a plan from `plan_to_json`."""
    raw = json.loads(text)
    for name in ("vpc_cidr", "node_cidr", "pod_cidr", "service_cidr", "balancer_cidr"):
        raw[name] = IPv4Network(raw[name])
    for name in ("ipv6_cidr", "service_cidr_v6", "balancer_cidr_v6"):
        raw[name] = IPv6Network(raw[name])
    raw["stack"] = IPStack(raw["stack"])
    raw["network"] = PodNetwork(raw["network"])
    raw["chained"] = tuple(raw["chained"])
    raw["pools"] = tuple(NodePool(**pool) for pool in raw["pools"])
    raw["zones"] = tuple(map(zone_from_json, raw["zones"]))
    raw["vswitches"] = tuple(map(vswitch_from_json, raw["vswitches"]))
    return LabPlan(**raw)


def _to_text(value: object) -> str:
    return value.value if isinstance(value, Enum) else str(value)


def eni_config(
    plan: LabPlan,
    *,
    vswitch_ids: tuple[str, ...],
    security_group_id: str,
    of_zones: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, str]:
    """Return the data of the ConfigMap eni-config, as upstream's users write it.

    `vswitch_ids` are those of the plan's own zone, `of_zones` those of the others.
    """
    others = {zone_id: list(ids) for zone_id, ids in (of_zones or {}).items()}
    conf: dict[str, object] = {
        "version": "1",
        "max_pool_size": plan.max_free,
        "min_pool_size": plan.min_free,
        "service_cidr": ",".join(map(str, plan.service_cidrs)),
        "vswitches": {plan.zone_id: list(vswitch_ids), **others},
        "security_group": security_group_id,
        "ip_stack": plan.stack.value,
        **({"ipam_type": "crd"} if plan.control_plane else {}),
        **plan.eni_conf,
    }
    ours = {
        "type": "terway",
        "capabilities": {"bandwidth": True},
        "eniip_virtual_type": "veth",
        **plan.cni,
    }
    # Debian's plugins, which are what can be chained here, do not know 1.1.0.
    network = {"cniVersion": "1.0.0" if plan.chained else "1.1.0", "name": "terway"}
    chain = {**network, "plugins": [ours, *plan.chained]}
    files: dict[str, object] = {"eni_conf": conf, "10-terway.conf": {**network, **ours}}
    if plan.chained:
        files["10-terway.conflist"] = chain
    return {
        **{name: json.dumps(value, indent=2) for name, value in files.items()},
        "disable_network_policy": "false",
    }
