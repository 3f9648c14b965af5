"""An ENI's device gets into a pod and back, in the kernel and in the kernel in memory alike.

Bug class 2: whatever step fails, the device is found again and no veth is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest

from terway.datapath.device import plan_return, plan_take, verify_device
from terway.datapath.exclusive import (
    FREE_ALIAS,
    desired_device,
    desired_leg,
    node_name_of,
)
from terway.datapath.plan import plan_attach, plan_detach
from terway.datapath.verify import verify
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.memory import MemoryKernel
from terway.model.attachment import Attachment
from terway.model.device import Device, DeviceState
from terway.model.errors import ConflictError, UsageError
from terway.model.ids import MacAddress
from terway.model.network import NODE, AttachmentState, LinkSettings, Netns, Operation, Put
from tests.support.attachments import ENI, NODE_FACTS, attachment
from tests.support.netns import scratch_netns

FACTS = replace(
    NODE_FACTS,
    service_cidrs=(ip_network("172.21.0.0/20"), ip_network("fd00:21::/112")),
    host_stack_cidrs=(ip_network("169.254.20.10/32"),),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A node with the ENI eth1, and an empty pod namespace."""

    kernel: Kernel | MemoryKernel
    attachment: Attachment

    @property
    def device(self) -> Device:
        return desired_device(self.attachment, gateways=ENI.gateways, node=FACTS)

    @property
    def leg(self) -> AttachmentState:
        return desired_leg(self.attachment, node=FACTS)

    async def read(self) -> DeviceState:
        return await self.kernel.read_device(self.device)

    async def plan(self) -> tuple[Operation, ...]:
        """Return all that makes the attachment."""
        leg = await self.kernel.read_attachment(self.leg)
        return (*plan_take(self.device, await self.read()), *plan_attach(self.leg, leg))

    async def undo(self) -> None:
        await self.kernel.apply(plan_return(self.device, await self.read()))
        await self.kernel.undo(replace(self.leg, pod=None), plan_detach)

    async def differences(self) -> tuple[str, ...]:
        leg = verify(self.leg, await self.kernel.read_attachment(self.leg))
        return tuple(map(str, (*verify_device(self.device, await self.read()), *leg)))

    async def host_links(self) -> set[str]:
        links = await self.kernel.links()
        return {one.name for one in links if one.name.startswith("cali") and not one.group}


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        kernel = MemoryKernel()
        kernel.plug("eth1", ENI.mac)
        kernel.create_netns("/ns/pod")
        yield Place(kernel, attachment(netns="/ns/pod"))
        return
    with ExitStack() as stack:
        node, pod = (stack.enter_context(scratch_netns(name)) for name in ("node", "pod"))
        node.run(f"ip link add eth1 address {ENI.mac} type veth peer name port")
        node.run("ip link set port up")
        stack.enter_context(node.entered())
        async with open_kernel() as opened:
            yield Place(opened, attachment(netns=pod.path))


async def test_the_device_is_in_the_pod_as_planned_and_nothing_is_left_to_do(place):
    await place.kernel.apply(await place.plan())

    state = await place.read()
    assert await place.differences() == ()
    assert state.on_node is None
    assert state.in_pod is not None
    assert (state.in_pod.name, state.in_pod.mac) == ("eth0", ENI.mac)
    assert await place.plan() == ()


async def test_the_device_comes_back_down_and_can_be_taken_again(place):
    await place.kernel.apply(await place.plan())

    await place.undo()

    state = await place.read()
    assert state.in_pod is None
    assert state.on_node is not None
    assert state.on_node.name == node_name_of(ENI.mac)
    assert (state.on_node.is_up, state.on_node.alias) == (False, FREE_ALIAS)
    assert await place.host_links() == set()
    await place.kernel.apply(await place.plan())
    assert await place.differences() == ()


async def test_after_a_failure_at_every_step_all_is_as_it_was(place):
    whole = await place.plan()
    assert len(whole) > 30

    for done in range(len(whole)):
        operations = await place.plan()
        await place.kernel.apply(operations[:done])

        await place.undo()

        state = await place.read()
        assert state.on_node is not None, f"lost after {done} operations"
        assert state.in_pod is None
        assert not state.on_node.is_up
        assert await place.host_links() == set()


async def test_what_a_crash_left_at_any_step_is_gone_on_with(place):
    number = len(await place.plan())

    for done in range(number):
        await place.kernel.apply((await place.plan())[:done])

        await place.kernel.apply(await place.plan())

        assert await place.differences() == (), f"after {done} operations"
        await place.undo()


async def test_a_return_that_was_cut_off_is_gone_on_with(place):
    for done in range(5):
        await place.kernel.apply(await place.plan())
        operations = plan_return(place.device, await place.read())
        await place.kernel.apply(operations[:done])

        await place.undo()

        state = await place.read()
        assert (state.in_pod, state.on_node is None) == (None, False)
        assert plan_return(place.device, state) == ()


async def test_an_interface_of_the_name_is_not_touched(place):
    stranger = attachment(2, netns=place.attachment.netns)
    other = desired_leg(stranger, node=FACTS)
    veth = replace(other.birth, peer=replace(other.birth.peer, name="eth0"))
    await place.kernel.apply((veth,))

    with pytest.raises(UsageError, match="eth0"):
        await place.plan()

    assert (await place.read()).on_node is not None


async def test_a_namespace_that_is_gone_is_said(place):
    gone = replace(place.attachment, netns="/run/netns/never")
    device = desired_device(gone, gateways=ENI.gateways, node=FACTS)

    with pytest.raises(ConflictError) as raised:
        plan_take(device, await place.kernel.read_device(device))

    assert raised.value.code == "ENOENT"


@pytest.mark.root
async def test_what_is_left_of_a_mount_is_a_namespace_that_is_gone(tmp_path):
    """Bug class 18: after a reboot a plain file is at the path."""
    left = tmp_path / "netns"
    left.touch()
    with scratch_netns("node") as node:
        node.run(f"ip link add eth1 address {ENI.mac} type veth peer name port")
        with node.entered():
            async with open_kernel() as kernel:
                place = Place(kernel, attachment(netns=str(left)))

                state = await place.read()

                assert state.pod is None
                assert state.on_node is not None


async def test_a_pod_that_changes_its_mac_does_not_hide_the_device(place):
    await place.kernel.apply(await place.plan())
    netns = Netns(place.attachment.netns)
    down = LinkSettings(name="eth0", is_up=False)
    await place.kernel.apply([Put(netns=netns, object=down)])
    forged = replace(down, mac=MacAddress("02:00:00:00:00:99"))
    await place.kernel.apply([Put(netns=netns, object=forged)])

    assert any("mac 02:00:00:00:00:99" in one for one in await place.differences())
    await place.undo()

    state = await place.read()
    assert state.on_node is not None
    assert state.on_node.mac == ENI.mac


async def test_a_device_that_is_nowhere_is_said(place):
    device = replace(place.device, mac="00:16:3e:ff:ff:ff", alias="of nobody")
    state = await place.kernel.read_device(device)

    assert state.is_nowhere
    for plan in (plan_take, plan_return):
        with pytest.raises(ConflictError) as raised:
            plan(device, state)
        assert raised.value.code == "ENODEV"


async def test_a_device_up_on_the_node_is_set_down(place):
    await place.kernel.apply([Put(netns=NODE, object=LinkSettings(name="eth1"))])

    await place.undo()

    found = (await place.read()).on_node
    assert found is not None
    assert not found.is_up
