"""A node as upstream Terway leaves it: its links, routes and rules, and its journal.

Made by hand with iproute2, from the description of upstream's data paths, and not by our planners:
what takes a node over must fit what is there, not what we would have made.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from terway.agent.moments import read_moment
from terway.agent.paths import paths_under
from terway.agent.takeover import take_over
from terway.cloud.metadata import MetadataENI
from terway.datapath.takeover import OwnerENI, Verdict
from terway.lab.cloud.inprocess import inprocess_ecs_client
from terway.linux.kernel import open_kernel
from terway.model.address import IPPair
from terway.model.attachment import PodRef
from terway.model.eni import ENI, VSwitch
from terway.model.ids import ClientToken, ContainerId, MacAddress
from terway.model.interface import UNLIMITED, Bandwidth
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType
from terway.pooling.upstream import Sources
from terway.store.sqlite import open_store
from terway.store.upstream import record_of, write_relations
from tests.support.emulated_node import EmulatedCloud
from tests.support.kernel_node import KernelNode, sh
from tests.support.upstream_links import (
    configure_eni,
    host_link,
    mac_of,
    make_rules,
    make_veth,
)

__all__ = ["UpstreamNode", "both", "filters_of", "host_link", "mac_of", "upstream_node"]

NODE_V4, NODE_V6 = "192.168.0.10", "fd00::10"


@dataclass
class UpstreamNode:
    """One node with one ENI that upstream made, and the pods that it gave addresses to."""

    world: EmulatedCloud
    folder: Path
    eni: ENI
    vswitch: VSwitch
    ifname: str = "eth1"
    records: dict[str, bytes] = field(default_factory=dict)

    @property
    def machine(self) -> KernelNode:
        return self.world.machine

    @property
    def gateways(self) -> IPPair:
        assert self.vswitch.ipv6_cidr is not None
        return IPPair(v4=self.vswitch.cidr[-3], v6=self.vswitch.ipv6_cidr[-3])

    @property
    def table(self) -> int:
        return 1000 + socket.if_nametoindex(self.ifname)

    def addresses(self, number: int) -> IPPair:
        """Return a pair of secondary addresses of the ENI."""
        return IPPair(v4=self.eni.ipv4[number], v6=self.eni.ipv6[number])

    def configure_eni(self) -> None:
        """Give the ENI what PolicyRoute gives it."""
        configure_eni(self.ifname, self.table, self.gateways, (NODE_V4, NODE_V6))

    def add_pod(
        self, name: str, addresses: IPPair, *, bandwidth: Bandwidth = UNLIMITED
    ) -> UpstreamPod:
        """Make a pod by PolicyRoute, and journal it."""
        netns, ref = self.machine.pod(), PodRef(namespace="default", name=name, uid=f"uid-{name}")
        make_veth(netns, ref, addresses)
        for address in addresses:
            make_rules(address, self.table)
        known = [str(one) for one in addresses]
        self.machine.know(*known, mac=self.eni.mac, far=f"vpc-{self.ifname}")
        pod = self.pod(name, netns, addresses, bandwidth=bandwidth)
        self.write(pod)
        return pod

    def add_exclusive_pod(self, name: str) -> UpstreamPod:
        """Make a pod by ExclusiveENI: the device is its eth0, veth1 leads to the node."""
        netns, ref = self.machine.pod(), PodRef(namespace="default", name=name, uid=f"uid-{name}")
        addresses = IPPair(v4=self.eni.primary_ipv4, v6=self.eni.ipv6[0])
        make_veth(netns, ref, addresses, ifname="veth1")
        space, gateways = netns.rpartition("/")[2], self.gateways
        sh(f"""
            ip link set {self.ifname} down
            ip link set {self.ifname} netns {space} name eth0
            ip -n {space} address add {addresses.v4}/32 dev eth0
            ip -n {space} address add {addresses.v6}/128 dev eth0 nodad
            ip -n {space} link set eth0 up
            ip -n {space} route add default via {gateways.v4} dev eth0 onlink
            ip -n {space} route add {gateways.v6}/128 dev eth0
            ip -n {space} -6 route add default via {gateways.v6} dev eth0 onlink
            ip -n {space} route add 169.254.1.1/32 dev veth1 scope link
            ip -n {space} route add {NODE_V4}/32 via 169.254.1.1 dev veth1 onlink
        """)
        known = [str(one) for one in addresses]
        self.machine.know(*known, mac=self.eni.mac, far=f"vpc-{self.ifname}")
        pod = self.pod(name, netns, addresses, type_=UpstreamType.VPC_ENI)
        self.write(pod)
        return pod

    def pod(
        self,
        name: str,
        netns: str,
        addresses: IPPair,
        *,
        bandwidth: Bandwidth = UNLIMITED,
        type_: UpstreamType = UpstreamType.ENI_MULTI_IP,
    ) -> UpstreamPod:
        """Return what upstream's journal says of a pod."""
        assert self.vswitch.ipv6_cidr is not None
        interface = UpstreamInterface(
            ifname="eth0",
            device_mac=self.eni.mac,
            addresses=addresses,
            eni_id=self.eni.id,
            gateways=self.gateways,
            ranges=(self.vswitch.cidr, self.vswitch.ipv6_cidr),
            bandwidth=bandwidth,
        )
        return UpstreamPod(
            pod=PodRef(namespace="default", name=name, uid=f"uid-{name}"),
            type=type_,
            container_id=ContainerId(f"upstream-{name}"),
            netns=netns,
            has_pod_eni=type_ is UpstreamType.VPC_ENI,
            interfaces=(interface,),
        )

    def write(self, *pods: UpstreamPod) -> None:
        """Journal pods as upstream does."""
        self.records |= {str(one.pod): record_of(one) for one in pods}
        path = paths_under(self.folder).state_dir / "ResRelation.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_relations(path, self.records)

    async def eni_of(self, mac: MacAddress) -> MetadataENI | None:
        """Return what the metadata service says of an ENI."""
        if mac != self.eni.mac:
            return None
        gateways = self.gateways
        assert gateways.v4 is not None
        return MetadataENI(
            id=self.eni.id,
            mac=mac,
            primary_ipv4=self.eni.primary_ipv4,
            ipv4=self.eni.ipv4,
            ipv6=self.eni.ipv6,
            vswitch_id=self.vswitch.id,
            cidr=self.vswitch.cidr,
            gateway_v4=gateways.v4,
            ipv6_cidr=self.vswitch.ipv6_cidr,
            gateway_v6=gateways.v6,
        )

    async def take_over(
        self, members: Iterable[tuple[PodRef, OwnerENI]] = ()
    ) -> tuple[Verdict, ...]:
        """Fill terwayd's journal from upstream's, as terwayd does at its first start."""
        paths = paths_under(self.folder)
        paths.make_folders()
        async with open_kernel() as kernel:
            sources = Sources(
                kernel=kernel,
                enis=_Metadata(self),
                members=_Members(dict(members)),
                boot_id=read_moment().boot_id,
            )
            with open_store(paths.journal) as store:
                return await take_over(store, paths.state_dir / "ResRelation.db", sources)


@dataclass
class _Metadata:
    node: UpstreamNode

    async def eni(self, mac: MacAddress) -> MetadataENI | None:
        return await self.node.eni_of(mac)


@dataclass
class _Members:
    known: dict[PodRef, OwnerENI]

    async def member(self, ref: PodRef, interface: UpstreamInterface) -> OwnerENI | None:
        return self.known.get(ref)


@asynccontextmanager
async def upstream_node(
    world: EmulatedCloud, folder: Path, *, creator: str = "terway"
) -> AsyncIterator[UpstreamNode]:
    """Let upstream have made one ENI on the node, with four secondary addresses of each family."""
    client = inprocess_ecs_client(world.cloud)
    made = await client.create_eni(
        vswitch_id=world.vswitch,
        security_group_ids=(world.group,),
        ipv4_count=5,
        ipv6_count=5,
        tags=(("creator", creator),),
        token=ClientToken("upstream"),
    )
    await client.attach_eni(made.id, world.instance_id)
    while made.id not in world.plugged:
        world.cloud.advance()
        await asyncio.sleep(0)
    (vswitch,) = await client.describe_vswitches((world.vswitch,))
    node = UpstreamNode(
        world=world, folder=folder, eni=made, vswitch=vswitch, ifname=world.plugged[made.id]
    )
    if creator == "terway":
        node.configure_eni()
    yield node


def filters_of(link: str) -> str:
    """Return what tc says of both hooks of a link."""
    done = subprocess.run(
        ["sh", "-c", f"tc filter show dev {link} ingress; tc filter show dev {link} egress"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def both(pod: UpstreamPod) -> tuple[IPv4Address, IPv6Address]:
    """Return the addresses of a pod's interface."""
    addresses = pod.interfaces[0].addresses
    assert addresses.v4 is not None
    assert addresses.v6 is not None
    return addresses.v4, addresses.v6
