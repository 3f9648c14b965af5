"""A node on the fabric whose pods are members of its trunk: the product's half, by hand.

fabric ── eth0  the node ── eth1  its trunk ── members 31, 32 (another vSwitch than the trunk's)
   └───── elsewhere: an instance;  node: this process's namespace, a KernelNetwork in it
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from terway.agent.ebpf.bringup import Bringup
from terway.agent.enis import ENILinks
from terway.agent.moments import read_moment
from terway.agent.network import KernelNetwork
from terway.agent.pool_ports import ManagedENI
from terway.datapath.facts import NodeFacts
from terway.ipam.values import ENIPhase
from terway.lab.vpc.state import Port
from terway.linux.ebpf.pins import BPFFS, Pins
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.netns import entered, open_netns
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.eni import VSwitch
from terway.model.ids import ContainerId, VSwitchId
from terway.model.interface import InterfaceSpec, Mode, OwnENI
from tests.support.datapath_node import SIZES
from tests.support.instances import (
    NODES,
    PODS,
    VPC,
    Instance,
    make_instance,
    member,
    port,
    remove_instance,
    vpc_state,
)
from tests.support.vpc_network import Network, open_network

FIXED = VSwitch(
    id=VSwitchId("vsw-fixed"),
    vpc_id=VPC,
    zone_id=PODS.zone_id,
    cidr=IPv4Network("192.168.96.0/19"),
    ipv6_cidr=IPv6Network("2408:4005:100:3::/64"),
)
VSWITCHES = {one.id: one for one in (NODES, PODS, FIXED)}
ELSEWHERE = port(20)
NODE_PORT = port(10, instance="i-node")
TRUNK = port(11, vswitch=PODS, instance="i-node", ifname="eth1", more_ipv4=("192.168.32.50",))
ONE = member(31, TRUNK, 1, vswitch=FIXED)
TWO = member(32, TRUNK, 4094)
PORTS = (ELSEWHERE, NODE_PORT, TRUNK, ONE, TWO)


def gateways_of(eni: Port) -> IPPair:
    """Return the gateways of the vSwitch of an ENI."""
    vswitch = VSWITCHES[eni.vswitch_id]
    assert vswitch.ipv6_cidr is not None
    return IPPair(v4=vswitch.cidr[-3], v6=vswitch.ipv6_cidr[-3])


def own_eni(eni: Port) -> OwnENI:
    """Return what an attachment says that is this member."""
    return OwnENI(gateways=gateways_of(eni), trunk_mac=TRUNK.mac, vlan_id=eni.vlan_id)


def facts(mode: Mode) -> NodeFacts:
    """Return the facts of a node in `mode`."""
    return NodeFacts(
        addresses=IPPair(v4=NODE_PORT.ipv4[0], v6=NODE_PORT.ipv6[0]),
        uplink="eth0",
        families=(Family.V4, Family.V6),
        gateways=gateways_of(NODE_PORT),
        has_datapath=mode is Mode.DATAPATHV2,
    )


@dataclass
class TrunkNode:
    """The node, and what it has."""

    fabric: Network
    kernel: Kernel
    network: KernelNetwork
    folder: Path
    mode: Mode
    pods: dict[str, Instance] = field(default_factory=dict)
    held: dict[AttachmentKey, Attachment] = field(default_factory=dict)

    @property
    def elsewhere(self) -> Instance:
        """Return the other instance."""
        return self.fabric.instances[ELSEWHERE.instance_id]

    def attachment(self, name: str, eni: Port, **spec: object) -> Attachment:
        """Return the attachment of a new pod; of the trunk itself it is an ordinary one."""
        pod = self.pods[name] = make_instance(f"pod-{name}", self.folder)
        is_member = eni.vlan_id > 0
        addresses = IPPair(v4=eni.ipv4[-1], v6=eni.ipv6[0] if is_member else None)
        made = InterfaceSpec(mode=self.mode, own_eni=own_eni(eni) if is_member else None)
        return Attachment(
            key=AttachmentKey(container_id=ContainerId(f"box-{name}"), ifname="eth0"),
            network="terway",
            netns=pod.netns,
            pod=PodRef(namespace="shop", name=name),
            lease=Lease(eni_id=eni.eni_id, eni_mac=eni.mac, addresses=addresses),
            made_at=read_moment(),
            spec=replace(made, **spec),  # type: ignore[arg-type]  # a test's own words
        )

    async def add(self, name: str, eni: Port, **spec: object) -> Instance:
        """Make a pod that has `eni`, or an address of the trunk; return its namespace."""
        made = self.attachment(name, eni, **spec)
        self.held[made.key] = made
        await self.network.attach(made, mtu_bytes=None)
        return self.pods[name]

    async def delete(self, name: str) -> None:
        """Take a pod's attachment away."""
        key = AttachmentKey(container_id=ContainerId(f"box-{name}"), ifname="eth0")
        await self.network.detach(self.held.pop(key))

    async def sweep(self) -> tuple[object, ...]:
        """Look at the node as the reconciler does; return what was done."""
        return await self.network.sweep(self.held.values, tuple)

    def sh(self, command: str) -> str:
        """Run a command on the node."""
        return self.fabric.instances["i-node"].run("sh", "-c", command).stdout


@asynccontextmanager
async def trunk_node(folder: Path, mode: Mode) -> AsyncIterator[TrunkNode]:
    """Be on a node with a trunk of two members, for the block."""
    async with AsyncExitStack() as stack:
        fabric = await stack.enter_async_context(open_network(folder))
        node = await fabric.instance("i-node")
        other = await fabric.instance(ELSEWHERE.instance_id)
        await fabric.fabric.apply(vpc_state(*PORTS, vswitches=tuple(VSWITCHES.values())))
        node.configure(NODE_PORT, NODES)
        other.configure(ELSEWHERE, NODES)
        opened = stack.enter_context(open_netns(node.netns))
        stack.enter_context(entered(opened.fd))
        yield await _start(stack, fabric, folder, mode)


async def _start(stack: AsyncExitStack, fabric: Network, folder: Path, mode: Mode) -> TrunkNode:
    kernel = await stack.enter_async_context(open_kernel())
    if mode is Mode.DATAPATHV2:
        await kernel.open_datapath(Pins(BPFFS / f"trunk-{folder.name}"), SIZES)
    trunk = ManagedENI(
        id=TRUNK.eni_id,
        mac=TRUNK.mac,
        phase=ENIPhase.IN_USE,
        vswitch_id=PODS.id,
        vswitch=PODS,
    )
    network = KernelNetwork(kernel, facts(mode), ENILinks(kernel, facts(mode), lambda: (trunk,)))
    await network.prepare()
    if kernel.datapath is not None:
        stack.callback(kernel.datapath.object.close)
        await Bringup(kernel, network, kernel.datapath).begin(())
    made = TrunkNode(fabric=fabric, kernel=kernel, network=network, folder=folder, mode=mode)
    stack.callback(_remove_all, made.pods)
    return made


def _remove_all(pods: dict[str, Instance]) -> None:
    for one in pods.values():
        remove_instance(one)
