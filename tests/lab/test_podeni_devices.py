"""ENIs of a PodENI, whole in their pod: one or several, on the fabric with real packets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from terway.agent.devices import DeviceLinks
from terway.agent.exclusive import ExclusiveNetwork
from terway.agent.moments import read_moment
from terway.linux.kernel import open_kernel
from terway.linux.netns import entered, open_netns
from terway.model.address import IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.errors import UsageError
from terway.model.ids import ContainerId
from terway.model.interface import InterfaceSpec, Mode, OwnENI
from tests.support.instances import NODES, PODS, Instance, make_instance, port, remove_instance
from tests.support.instances import vpc_state as state_of
from tests.support.kernel_node import links_are_gone
from tests.support.trunk_node import ELSEWHERE, FIXED, NODE_PORT, facts, gateways_of
from tests.support.vpc_network import Network, open_network

pytestmark = pytest.mark.root

FIRST = port(41, vswitch=PODS, instance="i-node", ifname="eth1")
SECOND = port(42, vswitch=FIXED, instance="i-node", ifname="eth2")


def attachment(pod: Instance, eni, ifname: str = "eth0") -> Attachment:
    is_first = ifname == "eth0"
    return Attachment(
        key=AttachmentKey(container_id=ContainerId("box"), ifname=ifname),
        network="terway",
        netns=pod.netns,
        pod=PodRef(namespace="shop", name="web-0"),
        lease=Lease(
            eni_id=eni.eni_id,
            eni_mac=eni.mac,
            addresses=IPPair(v4=eni.ipv4[0], v6=eni.ipv6[0]),
        ),
        made_at=read_moment(),
        spec=InterfaceSpec(
            mode=Mode.EXCLUSIVE,
            parent="" if is_first else "eth0",
            has_default_route=is_first,
            is_one_of_several=True,
            own_eni=OwnENI(gateways=gateways_of(eni)),
        ),
    )


class World:
    """A node that knows of no ENI of its own, and a pod."""

    def __init__(self, fabric: Network, pod: Instance, kernel) -> None:
        self.fabric, self.pod = fabric, pod
        self.held: list[Attachment] = []
        node = facts(Mode.EXCLUSIVE)
        links = DeviceLinks(kernel, node, lambda: (), lambda: self.held)
        self.network = ExclusiveNetwork(kernel, node, links, has_host_peer=True)

    async def add(self, *wanted: Attachment) -> None:
        for one in wanted:
            self.held.append(one)
            await self.network.attach(one, mtu_bytes=None)

    @property
    def elsewhere(self) -> Instance:
        return self.fabric.instances[ELSEWHERE.instance_id]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        fabric = await stack.enter_async_context(open_network(tmp_path))
        node = await fabric.instance("i-node")
        other = await fabric.instance(ELSEWHERE.instance_id)
        ports = (ELSEWHERE, NODE_PORT, FIRST, SECOND)
        await fabric.fabric.apply(state_of(*ports, vswitches=(NODES, PODS, FIXED)))
        node.configure(NODE_PORT, NODES)
        other.configure(ELSEWHERE, NODES)
        pod = make_instance("pod", tmp_path)
        stack.callback(remove_instance, pod)
        opened = stack.enter_context(open_netns(node.netns))
        stack.enter_context(entered(opened.fd))
        kernel = await stack.enter_async_context(open_kernel())
        made = World(fabric, pod, kernel)
        await made.network.prepare()
        yield made


async def test_an_eni_that_the_pool_never_heard_of_is_the_pods(world):
    await world.add(attachment(world.pod, FIRST))

    for address in (ELSEWHERE.ipv4[0], ELSEWHERE.ipv6[0], NODE_PORT.ipv4[0]):
        assert world.pod.can_reach(address)
    assert world.elsewhere.can_reach(FIRST.ipv6[0])


async def test_each_of_several_is_answered_by_itself(world):
    await world.add(attachment(world.pod, FIRST), attachment(world.pod, SECOND, "eth1"))

    for eni in (FIRST, SECOND):
        assert world.elsewhere.can_reach(eni.ipv4[0])
        assert world.elsewhere.can_reach(eni.ipv6[0])
    counters = await world.fabric.fabric.counters()
    assert counters[SECOND.eni_id].egress_packets
    for one in world.held:
        assert await world.network.differences(one, pod_mac=None) == ()


async def test_what_a_second_interface_has_is_missed_and_mended(world):
    await world.add(attachment(world.pod, FIRST), attachment(world.pod, SECOND, "eth1"))
    world.pod.ip("rule del oif eth1")

    assert await world.network.differences(world.held[1], pod_mac=None)
    assert await world.network.mend(world.held[1])

    assert await world.network.differences(world.held[1], pod_mac=None) == ()


async def test_del_brings_all_devices_back_and_detaches_nothing(world):
    await world.add(attachment(world.pod, FIRST), attachment(world.pod, SECOND, "eth1"))

    for one in reversed(world.held):
        await world.network.detach(one)

    links = world.fabric.instances["i-node"].ip("-o link")
    assert links.count("terway-eni of no pod") == len(world.held)
    for version in ("-4", "-6"):  # a namespace may be used again
        assert "512:" not in world.pod.ip(f"{version} rule")
    await links_are_gone("cali")


async def test_a_device_that_no_program_would_see_is_refused(world):
    world.network._node = replace(world.network._node, has_datapath=True)

    with pytest.raises(UsageError, match="one ENI each with the eBPF data path"):
        await world.add(attachment(world.pod, SECOND, "eth1"))
