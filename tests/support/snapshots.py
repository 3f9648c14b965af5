"""A node in working order as a snapshot: two pods on one ENI, a third pod on another node."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_interface, ip_network

from terway.cli.snapshot import (
    AgentView,
    CloudView,
    ENIView,
    InstanceView,
    JournalView,
    KernelView,
    KubeNode,
    KubePod,
    KubeView,
    PodView,
    SlotView,
    Snapshot,
)
from terway.cloud.inspect import SecurityGroup, VpcRoute
from terway.datapath.names import alias_of, host_link_name, host_mac
from terway.linux.inspect import Seen
from terway.linux.netlink.shown import ShownNeighbour, ShownRoute
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.ids import (
    ContainerId,
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)
from terway.model.moment import Moment
from terway.model.network import Link, LinkAddress, RoutingRule, Sysctl

A, NEAR, FAR = (IPv4Address(f"192.168.32.{last}") for last in (11, 12, 21))
GATEWAY = IPv4Address("192.168.63.253")
ENI_ID, FAR_ENI_ID = ENIId("eni-1"), ENIId("eni-2")
ENI_MAC = MacAddress("00:16:3e:00:00:01")
GROUP = SecurityGroupId("sg-1")
TABLE = 1003
_VPC, _VSWITCH = VpcId("vpc-1"), VSwitchId("vsw-pods")
_LINK_LOCAL = IPv4Address("169.254.1.1")
_ANYWHERE = ip_network("0.0.0.0/0")


def attachment(name: str, address: IPv4Address) -> Attachment:
    return Attachment(
        key=AttachmentKey(container_id=ContainerId(f"box-{name}"), ifname="eth0"),
        network="terway",
        netns=f"/run/netns/{name}",
        pod=PodRef(namespace="default", name=name),
        lease=Lease(eni_id=ENI_ID, eni_mac=ENI_MAC, addresses=IPPair(v4=address)),
        made_at=Moment(boot_id="b", seconds=1.0),
    )


PODS = {"a": attachment("a", A), "near": attachment("near", NEAR)}


def host_name(name: str) -> str:
    return host_link_name(PODS[name].key, PODS[name].pod)


def link(name: str, number: int, **more: object) -> Link:
    made = Link(ifindex=number, name=name, mac=None, mtu_bytes=1500, is_up=True)
    return replace(made, **more)  # type: ignore[arg-type]


def pod_view(name: str, number: int) -> PodView:
    held = PODS[name]
    address = held.lease.addresses.v4
    assert address is not None
    eth0 = link("eth0", 2, kind="veth", peer_ifindex=number)
    gateway = ShownNeighbour(
        link="eth0", address=_LINK_LOCAL, state="permanent", mac=host_mac(held.key)
    )
    seen = Seen(
        links=(eth0,),
        addresses=(LinkAddress(link="eth0", address=ip_interface(address)),),
        routes=(
            ShownRoute(
                kind="unicast",
                destination=_ANYWHERE,
                table=254,
                link="eth0",
                gateway=_LINK_LOCAL,
            ),
        ),
        rules=standard_rules(),
        neighbours=(gateway,),
    )
    return PodView(key=held.key, host_link=host_name(name), seen=seen)


def standard_rules() -> tuple[RoutingRule, ...]:
    return tuple(
        RoutingRule(family=Family.V4, priority=priority, table=table)
        for priority, table in ((0, 255), (32766, 254), (32767, 253))
    )


def to_pod(address: IPv4Address) -> RoutingRule:
    return RoutingRule(family=Family.V4, priority=512, table=254, destination=ip_network(address))


def from_pod(address: IPv4Address) -> RoutingRule:
    return RoutingRule(family=Family.V4, priority=2048, table=TABLE, source=ip_network(address))


def route(destination: str, device: str, table: int = 254, via: IPv4Address | None = None):
    return ShownRoute(
        kind="unicast",
        destination=ip_network(destination),
        table=table,
        link=device,
        gateway=via,
    )


def node_seen() -> Seen:
    links = [
        link("eth0", 2, mac=MacAddress("00:16:3e:00:00:00")),
        link("eth1", 3, mac=ENI_MAC),
    ]
    for number, name in ((4, "a"), (5, "near")):
        held = PODS[name]
        links.append(
            link(
                host_name(name),
                number,
                kind="veth",
                mac=host_mac(held.key),
                peer_ifindex=2,
                alias=alias_of(held.key),
            )
        )
    return Seen(
        links=tuple(links),
        routes=(
            route("0.0.0.0/0", "eth0", via=IPv4Address("192.168.31.253")),
            route("0.0.0.0/0", "eth1", TABLE, GATEWAY),
            route(f"{A}/32", host_name("a")),
            route(f"{NEAR}/32", host_name("near")),
        ),
        rules=(*standard_rules(), *map(to_pod, (A, NEAR)), *map(from_pod, (A, NEAR))),
        neighbours=(ShownNeighbour(link="eth1", address=GATEWAY, state="reachable", mac=ENI_MAC),),
        sysctls=(Sysctl(path="net/ipv4/ip_forward", value="1"),),
    )


def eni(eni_id: ENIId, instance: str, addresses: tuple[IPv4Address, ...], mac: MacAddress) -> ENI:
    return ENI(
        id=eni_id,
        mac=mac,
        type=ENIType.SECONDARY,
        status=ENIStatus.IN_USE,
        vpc_id=_VPC,
        vswitch_id=_VSWITCH,
        zone_id=ZoneId("z"),
        primary_ipv4=addresses[0],
        ipv4=addresses,
        security_group_ids=(GROUP,),
        instance_id=InstanceId(instance),
    )


def healthy() -> Snapshot:
    vswitch = VSwitch(
        id=_VSWITCH,
        vpc_id=_VPC,
        zone_id=ZoneId("z"),
        cidr=IPv4Network("192.168.32.0/19"),
        available_ip_count=1000,
    )
    pods = {"a": ("node-1", A), "near": ("node-1", NEAR), "far": ("node-2", FAR)}
    return Snapshot(
        taken_at="2026-01-01T00:00:00+00:00",
        node_name="node-1",
        version="0",
        journal=JournalView(
            attachments=tuple(PODS.values()),
            slots=tuple(
                SlotView(
                    address=one,
                    eni_id=ENI_ID,
                    is_primary=False,
                    is_retiring=False,
                    rests_until=0.0,
                )
                for one in (A, NEAR)
            ),
            enis=(ENIView(id=ENI_ID, mac=ENI_MAC, vswitch_id=_VSWITCH, phase="in use"),),
            vswitches=(vswitch,),
        ),
        agent=AgentView(is_ready=True, capacity=10),
        kernel=KernelView(node=node_seen(), pods=(pod_view("a", 4), pod_view("near", 5))),
        instance=InstanceView(
            instance_id=InstanceId("i-1"),
            instance_type="ecs.g7.large",
            region_id="r",
            zone_id="z",
            vpc_id=_VPC,
            vswitch_id=_VSWITCH,
            vpc_cidr="192.168.0.0/16",
        ),
        cloud=CloudView(
            enis=(eni(ENI_ID, "i-1", (A, NEAR), ENI_MAC),),
            peers=(eni(FAR_ENI_ID, "i-2", (FAR,), MacAddress("00:16:3e:00:00:02")),),
            vswitches=(vswitch,),
            groups=(SecurityGroup(id=GROUP, is_inner_open=True, rules=()),),
            routes=(
                VpcRoute(
                    destination=IPv4Network("192.168.0.0/16"),
                    next_hop_type="local",
                    next_hop_id="",
                ),
            ),
            asked=(FAR,),
        ),
        kubernetes=KubeView(
            pods=tuple(
                KubePod(
                    namespace="default",
                    name=name,
                    uid=name,
                    node=node,
                    phase="Running",
                    addresses=(address,),
                )
                for name, (node, address) in pods.items()
            ),
            nodes=(
                KubeNode(name="node-1", addresses=(IPv4Address("192.168.0.1"),), is_ready=True),
            ),
        ),
    )
