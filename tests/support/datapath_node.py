"""A terwayd's network with the eBPF data path, over a node in a network namespace of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from terway.agent.ebpf.bringup import Bringup
from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.datapath.facts import NodeFacts
from terway.linux.ebpf.contract import LAYOUT
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.programs import OBJECT
from terway.linux.kernel import Kernel, open_kernel
from terway.model.address import Family, IPAddress, IPPair
from tests.support.cni import FakePool, Node
from tests.support.kernel_node import ENI, KernelNode

FACTS = NodeFacts(
    addresses=IPPair(v4=IPv4Address("192.168.0.10"), v6=IPv6Address("fd00::10")),
    uplink="eth0",
    families=(Family.V4, Family.V6),
    gateways=IPPair(v4=IPv4Address("192.168.31.253"), v6=IPv6Address("fd00:0:0::fffd")),
    has_datapath=True,
)
# As much as a test needs: each terwayd of a test takes the memory anew.
SIZES = {
    "flows": 8192,
    "choices": 4096,
    "affinities": 256,
    "pieces": 256,
    "backends": 1024,
    "slots": 4096,
    "sets": 1024,
    "frontends": 1024,
    "policy_hosts": 1024,
    "policy_verdicts": 1024,
    "policy_nets": 1024,
}


@dataclass(frozen=True, slots=True)
class Running:
    """One terwayd: its network, and what brings its data path up."""

    kernel: Kernel
    network: KernelNetwork
    bringup: Bringup | None


@dataclass
class DataPathNode:
    """The node, its pods and their addresses; terwayds come and go."""

    machine: KernelNode
    folder: Path
    pins: Pins
    pool: FakePool = field(default_factory=FakePool)
    running: Running | None = None

    @asynccontextmanager
    async def terwayd(
        self,
        *,
        has_datapath: bool = True,
        layout: int = LAYOUT,
        facts: NodeFacts = FACTS,
        path: Path = OBJECT,
    ) -> AsyncIterator[Running]:
        """Be a terwayd for the block; what it made stays, as after a kill."""
        facts = replace(facts, has_datapath=has_datapath)
        async with open_kernel() as kernel:
            if has_datapath:
                await kernel.open_datapath(self.pins, SIZES, layout=layout, path=path)
            else:
                await kernel.remove_datapath(self.pins)
            network = KernelNetwork(kernel, facts, ENILinks(kernel, facts, lambda: (ENI,)))
            await network.prepare()
            for one in self.pool.attachments():
                await network._enis.link_of(one.lease.eni_mac)
            datapath = kernel.datapath
            bringup = None if datapath is None else Bringup(kernel, network, datapath)
            if bringup is not None:
                await bringup.begin(self.pool.attachments())
            self.running = Running(kernel, network, bringup)
            try:
                yield self.running
            finally:
                self.running = None
                if datapath is not None:
                    datapath.object.close()

    async def add(self, container: str) -> tuple[str, IPPair]:
        """Run ADD for a new pod; return its namespace and addresses."""
        netns = self.machine.pod()
        assert self.running is not None
        node = Node(folder=self.folder, pool=self.pool, network=self.running.network)
        async with node.terwayd():
            ran = await node.run("ADD", CNI_CONTAINERID=container, CNI_NETNS=netns)
        assert ran.exit_code == 0, ran.stdout
        found = next(a for a in self.pool.attachments() if a.key.container_id == container)
        return netns, found.lease.addresses

    async def run(self, verb: str, container: str, netns: str) -> int:
        """Run a verb for a pod that is there; return the plugin's exit code."""
        assert self.running is not None
        node = Node(folder=self.folder, pool=self.pool, network=self.running.network)
        async with node.terwayd():
            ran = await node.run(verb, CNI_CONTAINERID=container, CNI_NETNS=netns)
        return ran.exit_code


def of(addresses: IPPair, family: Family) -> IPAddress:
    """Return the address of a family, which is there."""
    found = addresses.of(family)
    assert found is not None
    return found
