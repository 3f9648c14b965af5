"""A node whose pool upstream's control plane kept is believed, and is ours with its agent."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

from terway.kube.crds import NODE_RUNTIMES, POOL_NODES
from terway.lab.faults.virtual import run_virtually
from terway.model.address import IPPair
from terway.model.attachment import Attachment, Lease, PodRef
from terway.model.ids import ENIId, MacAddress
from terway.model.interface import InterfaceSpec, Mode
from terway.model.moment import Moment
from terway.store.memory import MemoryStore
from terway.store.records import Batch
from tests.support.centralized import Agent, Cluster, add, control_plane, eventually
from tests.support.pool_world import owner
from tests.support.upstream_resources import node_runtime, pool_node

CIDR = "192.168.32.0/19"


class Upstreams:
    """A node with one ENI of upstream's, and two pods that have addresses of it."""

    def __init__(self, folder: Any) -> None:
        self.cluster = Cluster()
        at = self.cluster.cloud.at
        self.instance = self.cluster.add_node(instance_id=at.instance_id)
        self.agent = Agent(self.cluster, folder, self.instance)
        eni_id = at.create_eni(SecondaryPrivateIpAddressCount="5")
        at.attach(eni_id)
        at.pass_time()
        self.eni = at.eni(eni_id)
        self.pods = self.cluster.schedule("node-1", 2)
        sets = self.eni["PrivateIpSets"]["PrivateIpSet"]
        free = [one["PrivateIpAddress"] for one in sets if not one["Primary"]]
        self.has = dict(zip(free, self.pods, strict=False))
        self._write()

    def _write(self) -> None:
        held = {ip: (str(pod), pod.uid) for ip, pod in self.has.items()}
        node = pool_node("node-1", [self.eni], instance=self.instance, held=held, cidr=CIDR)
        runtime = node_runtime("node-1", {pod.uid: str(pod) for pod in self.pods})
        for resource, one in ((POOL_NODES, node), (NODE_RUNTIMES, runtime)):
            row = self.cluster.row(resource)
            self.cluster.state.create(row, {**one, "status": {}})
            said = {"status": one["status"]}
            self.cluster.state.patch(row, "node-1", "", said, subresource="status")

    def shown(self) -> dict[str, str]:
        """Return the pods that the node's resource shows, by address."""
        enis = self.cluster.status()["networkInterfaces"].values()
        return {
            ip: one["podID"]
            for eni in enis
            for ip, one in eni["ipv4"].items()
            if one.get("podID") and one["status"] == "Valid"
        }

    async def take_over(self) -> None:
        """Fill the agent's journal as its first start does, from upstream's."""
        pairs = enumerate(self.has.items(), 1)
        made = [self._attachment(number, ip, pod) for number, (ip, pod) in pairs]
        await MemoryStore(self.agent.disk).write(Batch(put=tuple(made)))

    def _attachment(self, number: int, ip: str, pod: PodRef) -> Attachment:
        mac = MacAddress(self.eni["MacAddress"])
        eni_id = ENIId(self.eni["NetworkInterfaceId"])
        return Attachment(
            key=owner(number),
            network="terway",
            netns="/n",
            pod=pod,
            lease=Lease(eni_id=eni_id, eni_mac=mac, addresses=IPPair(v4=IPv4Address(ip))),
            made_at=Moment(boot_id="b", seconds=0.0),
            spec=InterfaceSpec(mode=Mode.VETH),
        )


def test_what_upstream_wrote_of_a_node_is_believed_and_its_pods_keep_their_addresses(tmp_path):
    async def main():
        node = Upstreams(tmp_path)
        before, cluster = node.shown(), node.cluster
        had = cluster.cloud.secondary_enis()
        async with control_plane(cluster):
            await asyncio.sleep(1800)  # its agent is upstream's all the time
            assert node.shown() == before
            assert cluster.cloud.secondary_enis() == had

            await node.take_over()
            async with node.agent.running() as service:
                held = [await add(service, pod) for pod in node.pods]
                assert [str(one.lease.addresses.v4) for one in held] == list(before)
                (more,) = cluster.schedule("node-1")
                fresh = await add(service, more)
                assert str(fresh.lease.addresses.v4) not in before
                await eventually(lambda: len(node.shown()) == 3)
                assert node.shown().items() >= before.items()

    run_virtually(main())
