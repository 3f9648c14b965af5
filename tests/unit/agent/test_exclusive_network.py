"""Pods with an ENI each over a kernel in memory: every verb, and a failure at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from terway.agent.devices import DeviceLinks
from terway.agent.exclusive import ExclusiveNetwork
from terway.agent.pool_ports import ManagedENI
from terway.cni.errors import CniError
from terway.datapath.exclusive import FREE_ALIAS
from terway.ipam.values import ENIPhase
from terway.linux.kernel import Kernel
from terway.linux.memory import MemoryKernel
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment
from terway.model.eni import VSwitch
from terway.model.errors import TransientError
from terway.model.ids import VpcId, VSwitchId, ZoneId
from terway.model.interface import InterfaceSpec, Mode
from terway.model.network import (
    MAIN_TABLE,
    NODE,
    DeleteLink,
    LinkSettings,
    Netns,
    Operation,
    Put,
    Remove,
    Route,
)
from tests.support.attachments import ENI, NODE_FACTS, attachment, dual_stack

POD_NETNS = "/ns/pod"
VSWITCH = VSwitch(
    id=VSwitchId("vsw-pods"),
    vpc_id=VpcId("vpc-1"),
    zone_id=ZoneId("z"),
    cidr=IPv4Network("192.168.32.0/19"),
    ipv6_cidr=IPv6Network("fd00:0:0:2::/64"),
)


class FragileKernel(MemoryKernel):
    """A kernel that fails once, after so many operations."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_after: int | None = None

    async def apply(self, operations: Sequence[Operation]) -> None:
        limit = self.fails_after
        if limit is None or not operations:
            await super().apply(operations)
            return
        self.fails_after = None
        await super().apply(operations[:limit])
        raise TransientError("the kernel refuses")


class World:
    """A node with one ENI and one pod."""

    def __init__(self, *, has_host_peer: bool = True) -> None:
        self.kernel = FragileKernel()
        self.kernel.plug("eth1", ENI.mac)
        self.kernel.create_netns(POD_NETNS)
        self.held: tuple[Attachment, ...] = ()
        self.enis = (
            ManagedENI(
                id=attachment().lease.eni_id,
                mac=ENI.mac,
                phase=ENIPhase.IN_USE,
                vswitch_id=VSWITCH.id,
                vswitch=VSWITCH,
            ),
        )
        kernel: Kernel = self.kernel  # type: ignore[assignment]  # the same methods
        self.devices = DeviceLinks(kernel, NODE_FACTS, lambda: self.enis, lambda: self.held)
        self.network = ExclusiveNetwork(
            kernel, NODE_FACTS, self.devices, has_host_peer=has_host_peer
        )
        self.pod = replace(
            attachment(netns=POD_NETNS, addresses=dual_stack(1)),
            spec=InterfaceSpec(mode=Mode.EXCLUSIVE),
        )

    async def attach(self):
        self.held = (self.pod,)  # the journal is ahead of the kernel
        return await self.network.attach(self.pod, mtu_bytes=None)

    async def detach(self) -> None:
        await self.network.detach(self.pod)
        self.held = ()

    async def assert_untouched(self) -> None:
        links = {one.name: one for one in await self.kernel.links()}
        (device,) = (one for one in links.values() if one.mac == ENI.mac)
        assert not device.is_up
        assert not any(name.startswith("cali") for name in links)

    async def differences(self) -> tuple[str, ...]:
        return await self.network.differences(self.pod, pod_mac=ENI.mac)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_result_has_the_enis_mac_and_the_vswitchs_gateways(world):
    links = await world.attach()

    assert links.pod_mac == ENI.mac
    assert VSWITCH.ipv6_cidr is not None
    assert links.gateways == IPPair(v4=VSWITCH.cidr[-3], v6=VSWITCH.ipv6_cidr[-3])
    assert await world.differences() == ()


async def test_after_a_failure_at_every_step_the_eni_is_free_again():
    """Bug class 2: what ADD undoes is complete, wherever it stopped."""
    for step in range(60):
        world = World()
        world.kernel.fails_after = step
        with pytest.raises(TransientError):
            await world.attach()

        await world.detach()

        await world.assert_untouched()
        await world.attach()
        assert await world.differences() == (), f"after a failure at operation {step}"


async def test_a_repeated_ADD_changes_nothing(world):
    first = await world.attach()

    assert await world.attach() == first
    assert await world.differences() == ()


async def test_DEL_brings_the_device_back_and_can_be_repeated(world):
    """Bug class 18."""
    await world.attach()

    await world.detach()
    await world.detach()

    await world.assert_untouched()
    (device,) = (one for one in await world.kernel.links() if one.mac == ENI.mac)
    assert device.alias == FREE_ALIAS


async def test_DEL_while_the_device_is_nowhere_keeps_the_address(world):
    """Bug class 2: until the device is back, another pod must not get its ENI."""
    await world.attach()
    world.kernel.delete_netns(POD_NETNS)
    world.kernel.pull(ENI.mac)  # and has not come back to the node yet

    with pytest.raises(TransientError):
        await world.detach()

    world.kernel.plug("dev7", ENI.mac)  # the namespace has ended, the device fell back
    await world.detach()
    await world.assert_untouched()


async def test_DEL_of_a_pod_whose_eni_the_cloud_has_lost_succeeds(world):
    await world.attach()
    world.kernel.delete_netns(POD_NETNS)
    world.enis = (replace(world.enis[0], is_gone=True),)

    await world.detach()


async def test_a_namespace_that_is_not_there_is_the_runtimes_mistake(world):
    world.kernel.delete_netns(POD_NETNS)

    with pytest.raises(CniError, match="does not exist"):
        await world.attach()

    await world.detach()
    await world.assert_untouched()


async def test_an_interface_that_is_there_already_is_refused_before_anything_moves(world):
    world.kernel.create_netns("/ns/other")
    veth = world.network._leg(world.pod, NODE_FACTS).birth
    stranger = replace(
        veth, host=replace(veth.host, name="x"), peer=replace(veth.peer, name="eth0")
    )
    await world.kernel.apply((stranger,))

    with pytest.raises(CniError, match="eth0"):
        await world.attach()

    await world.assert_untouched()


async def test_CHECK_names_what_is_missing_and_mend_brings_it_back(world):
    await world.attach()
    netns = Netns(POD_NETNS)
    state = await world.devices.find(world.pod)
    default = next(
        one
        for one in state.pod or ()
        if isinstance(one, Route) and one.destination.prefixlen == 0 and one.table == MAIN_TABLE
    )
    await world.kernel.apply((Remove(netns=netns, object=default),))

    assert any(str(default.destination) in one for one in await world.differences())
    assert await world.network.mend(world.pod)

    assert await world.differences() == ()
    assert not await world.network.mend(world.pod)


async def test_a_result_with_another_mac_is_not_what_ADD_left(world):
    await world.attach()

    found = await world.network.differences(world.pod, pod_mac="02:00:00:00:00:01")

    assert any("02:00:00:00:00:01" in one for one in found)


async def test_a_device_that_was_plugged_again_goes_back_into_its_pod(world):
    await world.attach()
    world.kernel.unplug("eth0", netns=POD_NETNS)
    world.kernel.plug("eth1", ENI.mac)

    assert await world.network.mend(world.pod)

    assert await world.differences() == ()


async def test_a_namespace_that_nothing_proves_to_be_the_pods_gets_no_device(world):
    """Bug class 24: the path of a pod that is gone may lead to another one."""
    await world.attach()
    world.kernel.delete_netns(POD_NETNS)
    world.kernel.create_netns(POD_NETNS)
    world.kernel.plug("eth1", ENI.mac)

    assert not await world.network.mend(world.pod)

    assert (await world.devices.find(world.pod)).in_pod is None


async def test_without_a_host_peer_there_is_the_device_alone():
    world = World(has_host_peer=False)

    links = await world.attach()

    assert links.host_name == ""
    assert await world.differences() == ()
    assert not any(one.name.startswith("cali") for one in await world.kernel.links())
    await world.detach()
    await world.assert_untouched()


async def test_a_device_in_a_pod_is_not_taken_for_unplugged(world):
    await world.attach()

    assert await world.devices.refresh([ENI.mac]) == {}
    assert world.devices.known(ENI.mac) is not None

    world.kernel.pull(ENI.mac)
    assert [*await world.devices.refresh([ENI.mac])] == [ENI.mac]
    assert world.devices.known(ENI.mac) is None


async def test_a_warm_device_that_somebody_set_up_is_set_down(world):
    await world.kernel.apply((Put(netns=NODE, object=LinkSettings(name="eth1")),))

    await world.devices.wait_eni_ready(ENI.mac)

    await world.assert_untouched()


async def test_a_warm_device_that_is_set_up_later_is_set_down_again(world):
    """Bug class 27: NetworkManager and cloud-init bring up what is plugged in."""
    await world.devices.wait_eni_ready(ENI.mac)
    await world.kernel.apply((Put(netns=NODE, object=LinkSettings(name="eth1")),))

    assert await world.devices.refresh([ENI.mac]) == {}

    await world.assert_untouched()


async def test_a_sweep_leaves_pods_and_their_devices_alone(world):
    await world.attach()
    await world.devices.refresh([ENI.mac])
    await world.network.prepare()

    assert await world.network.sweep(lambda: world.held, lambda: ()) == ()

    assert await world.differences() == ()


async def test_a_sweep_removes_the_second_leg_of_a_pod_that_nobody_knows(world):
    await world.attach()

    await world.network.sweep(lambda: (), lambda: ())

    assert not any(one.name.startswith("cali") for one in await world.kernel.links())
    assert Family.V6 in NODE_FACTS.families


async def test_a_second_leg_that_somebody_deleted_is_made_again(world):
    await world.attach()
    (leg,) = (one.name for one in await world.kernel.links() if one.name.startswith("cali"))
    await world.kernel.apply([DeleteLink(name=leg, now=True)])
    await world.network.sweep(lambda: world.held, lambda: ())
    assert world.network.lost == {world.pod.key}

    assert await world.network.mend(world.pod)

    assert await world.differences() == ()
    await world.network.sweep(lambda: world.held, lambda: ())
    assert world.network.lost == frozenset()
    assert world.network.mender.counts[("link", "pod")] == 1


async def test_pods_without_a_second_leg_miss_none():
    world = World(has_host_peer=False)
    await world.attach()

    await world.network.sweep(lambda: world.held, lambda: ())

    assert world.network.lost == frozenset()
