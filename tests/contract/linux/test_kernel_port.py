"""One suite for the kernel and for the kernel in memory: what the agent may rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from terway.datapath.plan import plan_attach, plan_detach
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.memory import MemoryKernel
from terway.linux.netns import delete_netns
from terway.model.address import Family
from terway.model.errors import ConflictError, TransientError
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    DeleteLink,
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Operation,
    Put,
    Remove,
    RenameLink,
    Route,
    RoutingRule,
    Scope,
    Sysctl,
)
from tests.support.attachments import ENI, NODE_FACTS, attachment
from tests.support.netns import scratch_netns

UNKNOWN = MacAddress("00:16:3e:ff:ff:ff")


@dataclass(frozen=True, slots=True)
class Port:
    """A kernel with a node that has the ENI eth1, and an empty pod namespace."""

    kernel: Kernel | MemoryKernel
    pod: str
    delete_pod: Callable[[], None]

    @property
    def desired(self) -> AttachmentState:
        return desired_attachment(attachment(netns=self.pod), eni=ENI, node=NODE_FACTS)

    async def attach(self) -> AttachmentState:
        actual = await self.kernel.read_attachment(self.desired)
        await self.kernel.apply(plan_attach(self.desired, actual))
        return await self.kernel.read_attachment(self.desired)

    async def node_objects(self) -> set[NetObject]:
        return set((await self.kernel.read_node()).objects)

    async def apply(self, *operations: Operation) -> None:
        await self.kernel.apply(operations)


@pytest.fixture(params=["memory", pytest.param("kernel", marks=pytest.mark.root)])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[Port]:
    if request.param == "memory":
        kernel = MemoryKernel()
        kernel.plug("eth1", ENI.mac)
        kernel.create_netns("/ns/pod")
        yield Port(kernel, "/ns/pod", lambda: kernel.delete_netns("/ns/pod"))
        return
    with ExitStack() as stack:
        node, pod = (stack.enter_context(scratch_netns(name)) for name in ("node", "pod"))
        node.run(f"ip link add eth1 address {ENI.mac} type veth peer name port")
        stack.enter_context(node.entered())
        async with open_kernel() as opened:
            yield Port(opened, pod.path, lambda: delete_netns(pod.path))


OBJECTS: list[NetObject] = [
    LinkAddress(link="eth1", address=ip_interface("10.0.0.1/32")),
    LinkAddress(link="eth1", address=ip_interface("fd00::1/128")),
    Route(destination=ip_network("10.1.0.0/16"), link="eth1", scope=Scope.LINK),
    Route(
        destination=ip_network("0.0.0.0/0"),
        link="eth1",
        table=1007,
        gateway=ip_address("10.0.0.9"),
        is_onlink=True,
    ),
    Route(destination=ip_network("fd01::/64"), link="eth1"),
    RoutingRule(family=Family.V4, priority=512, table=254, destination=ip_network("10.0.0.1/32")),
    RoutingRule(family=Family.V6, priority=2048, table=1007, source=ip_network("fd00::1/128")),
    Neighbour(link="eth1", address=ip_address("10.0.0.9"), mac=UNKNOWN),
]


@pytest.fixture
async def eni_up(port: Port) -> None:
    await port.apply(Put(netns=NODE, object=LinkSettings(name="eth1", mtu_bytes=1400)))


@pytest.mark.parametrize("wanted", OBJECTS, ids=lambda one: type(one).__name__)
async def test_an_object_is_read_back_as_it_was_put(port, eni_up, wanted):
    put = Put(netns=NODE, object=wanted)

    await port.apply(put, put)

    assert wanted in await port.node_objects()


@pytest.mark.parametrize("wanted", OBJECTS, ids=lambda one: type(one).__name__)
async def test_a_removed_object_is_gone_and_may_be_removed_again(port, eni_up, wanted):
    remove = Remove(netns=NODE, object=wanted)
    await port.apply(Put(netns=NODE, object=wanted))

    await port.apply(remove, remove)

    assert wanted not in await port.node_objects()


async def test_a_second_route_to_a_destination_replaces_the_first(port, eni_up):
    first, second = (
        Route(
            destination=ip_network("0.0.0.0/0"),
            link="eth1",
            table=1007,
            gateway=ip_address(gateway),
            is_onlink=True,
        )
        for gateway in ("10.0.0.8", "10.0.0.9")
    )

    await port.apply(Put(netns=NODE, object=first), Put(netns=NODE, object=second))

    routes = {one for one in await port.node_objects() if isinstance(one, Route)}
    assert routes == {second}


async def test_link_settings_that_are_not_wished_for_stay(port, eni_up):
    [eth1] = [one for one in await port.kernel.links() if one.name == "eth1"]

    assert (eth1.mac, eth1.mtu_bytes, eth1.is_up) == (ENI.mac, 1400, True)


async def test_what_needs_a_link_that_is_not_there_is_a_conflict(port):
    wanted = LinkAddress(link="nobody", address=ip_interface("10.0.0.1/32"))

    with pytest.raises(ConflictError) as caught:
        await port.apply(Put(netns=NODE, object=wanted))

    assert caught.value.code == "ENODEV"


async def test_removing_from_a_link_that_is_not_there_is_success(port):
    for one in OBJECTS:
        if not isinstance(one, RoutingRule | Sysctl | LinkSettings):
            await port.apply(Remove(netns=NODE, object=one))
    await port.apply(DeleteLink(name="nobody"), DeleteLink(name="nobody", now=True))


async def test_a_namespace_that_is_not_there_is_a_conflict(port):
    with pytest.raises(ConflictError) as caught:
        await port.apply(Put(netns=Netns("/nowhere"), object=LinkSettings(name="lo")))

    assert caught.value.code == "ENOENT"


async def test_an_attachment_that_was_planned_and_applied_verifies(port, eni_up):
    assert verify(port.desired, await port.attach()) == ()


async def test_nothing_of_an_attachment_is_there_before_it_is_attached(port):
    actual = await port.kernel.read_attachment(port.desired)

    assert (actual.is_paired, actual.alias) == (False, "")
    assert {type(one) for one in actual.node} <= {Sysctl}
    assert actual.pod is not None
    assert LinkSettings(name="eth0") not in {
        LinkSettings(name=one.name) for one in actual.pod if isinstance(one, LinkSettings)
    }


async def test_a_detached_attachment_is_gone(port, eni_up):
    before = await port.node_objects()

    await port.attach()
    await port.kernel.undo(port.desired, plan_detach)

    actual = await port.kernel.read_attachment(port.desired)
    assert (actual.is_paired, actual.alias) == (False, "")
    assert await port.node_objects() == before


async def test_an_attachment_whose_namespace_is_gone_has_no_pod_side(port, eni_up):
    await port.attach()
    port.delete_pod()

    assert (await port.kernel.read_attachment(port.desired)).pod is None


async def test_a_second_veth_of_the_name_is_a_conflict(port):
    await port.apply(port.desired.birth)

    with pytest.raises(ConflictError) as caught:
        await port.apply(port.desired.birth)

    assert caught.value.code == "EEXIST"


async def test_an_eni_is_found_by_its_mac(port):
    assert (await port.kernel.link_by_mac(ENI.mac)).name == "eth1"


async def test_an_eni_that_is_not_plugged_in_is_worth_another_try(port):
    with pytest.raises(TransientError, match="is the ENI attached"):
        await port.kernel.link_by_mac(UNKNOWN, timeout_s=0.01)


async def test_a_node_without_a_default_route_has_no_uplink(port):
    assert await port.kernel.uplink(Family.V4) is None


async def test_connections_of_an_address_that_has_none_are_counted_and_forgotten(port):
    nobody = [ip_address("203.0.113.1"), ip_address("2001:db8::99")]

    assert not await port.kernel.count_connections(nobody)
    assert not await port.kernel.forget_connections(nobody)


async def _values(port: Port, link: str) -> dict[str, str]:
    """Return the settings that a link takes from its namespace, by key."""
    paths = {key: key.format(link) for key in INHERITED}
    asked = [Sysctl(path=path, value="") for path in paths.values()]
    objects = (await port.kernel.read_node(asked)).objects
    found = {one.path: one.value for one in objects if isinstance(one, Sysctl)}
    return {key: found[path] for key, path in paths.items()}


INHERITED = (
    "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv6/conf/{}/forwarding",
    "net/ipv6/conf/{}/disable_ipv6",
)


async def _set(port: Port, *settings: tuple[str, str]) -> None:
    await port.apply(
        *(Put(netns=NODE, object=Sysctl(path=path, value=value)) for path, value in settings)
    )


async def test_a_new_link_has_the_settings_of_default(port):
    await _set(
        port,
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/default/rp_filter", "2"),
        ("net/ipv6/conf/default/forwarding", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "0"),
    )

    await port.apply(port.desired.birth)

    values = await _values(port, port.desired.birth.host.name)
    assert tuple(values.values()) == ("1", "2", "1", "0")


async def test_what_is_set_for_all_links_is_set_for_those_that_are_there(port, eni_up):
    await _set(
        port,
        ("net/ipv4/conf/eth1/rp_filter", "0"),
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/all/disable_ipv6", "0"),
    )

    values = await _values(port, "eth1")

    assert tuple(values.values()) == ("1", "0", "1", "0")


async def test_a_link_keeps_its_settings_under_another_name(port, eni_up):
    await _set(port, *((key.format("eth1"), "1") for key in INHERITED))
    await port.apply(Put(netns=NODE, object=LinkSettings(name="eth1", is_up=False)))

    await port.apply(RenameLink(netns=NODE, name="eth1", new_name="eth9"))

    assert set((await _values(port, "eth9")).values()) == {"1"}


async def test_a_veth_is_made_only_in_the_very_namespace_that_was_meant(port):
    """A path, and an inode's number, are another namespace's as soon as the first has ended."""
    read = await port.kernel.read_attachment(port.desired)
    assert read.netns_id == (await port.attach()).netns_id != ""
    veth = port.desired.birth
    await port.apply(DeleteLink(name=veth.host.name, now=True))

    with pytest.raises(ConflictError, match="another one by now"):
        await port.apply(replace(veth, netns_id="cookie 0"))

    assert veth.host.name not in {one.name for one in await port.kernel.links()}
    await port.apply(replace(veth, netns_id=read.netns_id))
    assert (await port.kernel.read_attachment(port.desired)).is_paired
