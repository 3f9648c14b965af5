"""A member's VLAN device is made in its pod and deleted there; where it cannot be, it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.agent.trunk_devices import check_vlan_devices
from terway.config.cni_conf import parse_cni_conf
from terway.datapath.device import plan_return, plan_take, verify_device
from terway.datapath.exclusive import desired_device, with_device_table
from terway.datapath.trunk import members_of
from terway.linux.memory import MemoryKernel
from terway.model.address import IPPair
from terway.model.errors import ConflictError, UsageError
from terway.model.ids import MacAddress
from terway.model.interface import InterfaceSpec, Mode, OwnENI
from terway.model.network import CreateVlan, DeleteLink, Remove, RoutingRule
from tests.support.attachments import ENI, NODE_FACTS, attachment

TRUNK = MacAddress("00:16:3e:00:00:0b")
SPEC = InterfaceSpec(
    mode=Mode.EXCLUSIVE, own_eni=OwnENI(gateways=ENI.gateways, trunk_mac=TRUNK, vlan_id=7)
)
MEMBER = replace(attachment(netns="/ns/pod"), spec=SPEC)
DEVICE = desired_device(MEMBER, gateways=ENI.gateways, node=NODE_FACTS, trunk="eth1")


@pytest.fixture
def kernel() -> MemoryKernel:
    made = MemoryKernel()
    made.plug("eth1", TRUNK)
    made.create_netns("/ns/pod")
    return made


async def test_the_device_is_made_by_its_final_name_and_deleted_where_it_is(kernel):
    first, *_ = took = plan_take(DEVICE, await kernel.read_device(DEVICE))
    await kernel.apply(took)

    assert isinstance(first, CreateVlan)
    assert (first.parent, first.link.name, first.vlan_id) == ("eth1", "eth0", 7)
    assert verify_device(DEVICE, await kernel.read_device(DEVICE)) == ()
    assert plan_take(DEVICE, await kernel.read_device(DEVICE)) == ()

    gone = plan_return(DEVICE, await kernel.read_device(DEVICE))

    assert gone == (DeleteLink(name="eth0", netns=DEVICE.netns, now=True),)
    await kernel.apply(gone)
    assert plan_return(DEVICE, await kernel.read_device(DEVICE)) == ()


async def test_without_the_trunk_nothing_is_made(kernel):
    away = desired_device(MEMBER, gateways=IPPair(), node=NODE_FACTS)

    with pytest.raises(ConflictError, match="trunk of member"):
        plan_take(away, await kernel.read_device(away))


async def test_the_rules_of_a_devices_own_table_go_with_it(kernel):
    """A namespace may be used again: DEL leaves nothing of a second interface in it."""
    await kernel.apply(plan_take(DEVICE, await kernel.read_device(DEVICE)))
    whole = with_device_table(DEVICE, MEMBER, gateways=ENI.gateways, ifindex=9)
    await kernel.apply(plan_take(whole, await kernel.read_device(whole)))

    gone = plan_return(whole, await kernel.read_device(whole))

    wanted = {one for one in whole.pod if isinstance(one, RoutingRule)}
    assert wanted
    assert {one.object for one in gone if isinstance(one, Remove)} == wanted


def test_what_the_trunk_knows_of_the_member_says_that_it_has_a_device():
    (known,) = members_of(MEMBER, "eth1")

    assert (known.vlan_id, known.has_device) == (7, True)


class FakeKernel:
    """A kernel that has 8021q, or lacks it."""

    def __init__(self, lacks: str) -> None:
        self._lacks = lacks

    async def vlan_lacks(self) -> str:
        return self._lacks


async def test_a_kernel_without_8021q_is_refused_with_the_remedy():
    conf, _ = parse_cni_conf({"10-terway.conf": '{"type": "terway", "vlan_strip_type": "vlan"}'})

    with pytest.raises(UsageError, match="vlan_strip_type filter"):
        await check_vlan_devices(FakeKernel("no such device"), Mode.VETH, conf)
    await check_vlan_devices(FakeKernel(""), Mode.VETH, conf)
    await check_vlan_devices(FakeKernel("no such device"), Mode.EXCLUSIVE, conf)
