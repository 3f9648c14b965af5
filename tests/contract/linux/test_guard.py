"""Pods send as themselves only: real packets through the guard of a real link."""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.agent.guard_watch import GuardWatch
from terway.agent.turns import Turns
from terway.datapath.facts import ENILink
from terway.datapath.guard import plan_guard
from terway.datapath.host import desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_node, unborn
from terway.datapath.verify import verify
from terway.datapath.veth import desired_attachment
from terway.linux.guard import Guards, read_drops
from terway.linux.guard_contract import GuardReason
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import open_netns
from terway.model.address import IPPair
from terway.model.attachment import Attachment
from terway.model.network import NODE, AttachmentState, Put, Sysctl
from terway.model.traffic import Guard
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.frames import echo, ipv4, ipv6
from tests.support.netns import NodeWithENI, ScratchNetns

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
OTHER4, OTHER6 = IPv4Address("192.168.32.2"), IPv6Address("fd00:0:0:2::2")
WORLD4, WORLD6 = IPv4Address("198.51.100.1"), IPv6Address("2001:db8::1")


@pytest.fixture
async def guarded(world: NodeWithENI, kernel: Kernel, pod: ScratchNetns) -> AttachmentState:
    """A pod on a node in order: `pod` is attached."""
    [plugged] = [one for one in await kernel.links() if one.name == "eth1"]
    assert plugged.mac is not None
    eni = ENILink(name="eth1", ifindex=plugged.ifindex, mac=plugged.mac, gateways=GATEWAYS)
    host = (*desired_host(NODE_FACTS), *desired_eni(eni, NODE_FACTS))
    actual = await kernel.read_node(one for one in host if isinstance(one, Sysctl))
    await kernel.apply(plan_node(host, (), actual))
    desired = desired_attachment(attachment(1, netns=pod.path), eni=eni, node=NODE_FACTS)
    await kernel.apply(plan_attach(desired, unborn(desired)))
    return desired


def send(pod: ScratchNetns, ethertype: int, payload: bytes, *, mac: str | None = None) -> None:
    """Send one frame from the pod's eth0 as root of the pod would."""
    with open_netns(pod.path) as opened, pod.entered():
        assert opened.fd
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sock:
        sock.bind(("eth0", 0))
        own = sock.getsockname()[4]
        source = own if mac is None else bytes.fromhex(mac.replace(":", ""))
        sock.send(b"\xff" * 6 + source + struct.pack("!H", ethertype) + payload)


def drops(world: NodeWithENI, desired: AttachmentState) -> dict[GuardReason, int]:
    with world.node.entered(), open_route_socket() as sock:
        found = read_drops(sock, desired.birth.host.name)
    assert found is not None
    return found


async def dropped(world: NodeWithENI, desired: AttachmentState, reason: GuardReason, count: int):
    """Wait until so many were dropped for one reason, and none for another.

    Where a CPU has much to receive, frames wait for its ksoftirqd after they were sent.
    """
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(drops, world, desired)).get(reason, 0) < count:
            pass
    assert drops(world, desired) == {reason: count}


async def test_a_neighbours_address_gets_out_in_neither_family(world, pod, guarded):
    # bug class 36: what stands before a pod's packets stands there in both families
    send(pod, 0x0800, ipv4(OTHER4, WORLD4, 1, echo(1)))
    send(pod, 0x86DD, ipv6(OTHER6, WORLD6, 58, echo(1, v6=True)))

    await dropped(world, guarded, GuardReason.SOURCE_ADDRESS, 2)
    assert pod.pings(WORLD4)
    assert pod.pings(WORLD6)
    await dropped(world, guarded, GuardReason.SOURCE_ADDRESS, 2)


async def test_a_pod_that_gives_itself_a_neighbours_address_is_heard_by_nobody(world, pod, guarded):
    pod.run(f"ip addr add {OTHER4}/32 dev eth0; ip addr add {OTHER6}/128 dev eth0 nodad")

    assert not pod.pings(WORLD4, options=f"-I {OTHER4}", wait_s=2)
    assert not pod.pings(WORLD6, options=f"-I {OTHER6}", wait_s=2)
    for own, far in zip(guarded.addresses, (WORLD4, WORLD6), strict=True):
        assert pod.pings(far, options=f"-I {own}")


async def test_arp_for_a_neighbours_address_is_not_believed(world, pod, guarded):
    name = guarded.birth.host.name
    claim = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + bytes.fromhex("020000000009")
    send(pod, 0x0806, claim + OTHER4.packed + bytes(6) + OTHER4.packed)

    await dropped(world, guarded, GuardReason.ARP, 1)
    assert str(OTHER4) not in world.node.run(f"ip neigh show dev {name}")


async def test_the_mac_of_another_link_gets_nothing_out(world, pod, guarded):
    own = IPv4Address("192.168.32.1")
    send(pod, 0x0800, ipv4(own, WORLD4, 1, echo(1)), mac="02:00:00:00:00:09")

    await dropped(world, guarded, GuardReason.SOURCE_MAC, 1)


async def test_after_another_plugin_changed_the_mac_the_guard_is_made_to_fit(
    world, kernel, pod, guarded
):
    # bug class 28: a MAC that somebody changed
    pod.run(
        "ip link set eth0 down; ip link set eth0 address 02:00:00:00:77:01; ip link set eth0 up"
    )
    pod.run("ip route add default via 169.254.1.1 dev eth0 onlink")
    pod.run("ip route add default via fe80::1 dev eth0 onlink")
    assert not pod.pings(WORLD4, wait_s=2)

    actual = await kernel.read_attachment(guarded)
    await kernel.apply(plan_attach(guarded, actual))

    assert pod.pings(WORLD4)
    assert verify(guarded, await kernel.read_attachment(guarded)) == ()


@pytest.mark.parametrize(
    "damage",
    [
        "tc qdisc del dev {} clsact",
        "tc filter del dev {} ingress",
        "tc filter del dev {} ingress pref 100",
    ],
)
async def test_a_guard_that_somebody_took_away_is_put_back(world, kernel, pod, guarded, damage):
    # bug class 52: other users of traffic control
    world.node.run(damage.format(guarded.birth.host.name))

    actual = await kernel.read_attachment(guarded)
    assert any("guard" in str(one) for one in verify(guarded, actual))
    await kernel.apply(plan_attach(guarded, actual))

    assert verify(guarded, await kernel.read_attachment(guarded)) == ()
    send(pod, 0x0800, ipv4(OTHER4, WORLD4, 1, echo(1)))
    await dropped(world, guarded, GuardReason.SOURCE_ADDRESS, 1)


async def test_filters_of_others_on_the_link_stay_and_see_what_the_guard_let_through(
    world, kernel, pod, guarded
):
    """Bug class 52: other users of traffic control."""
    name = guarded.birth.host.name
    world.node.run(
        f"ip link add seen type ifb; ip link set seen up;"
        f"tc filter add dev {name} ingress pref 200 protocol ip u32 match u32 0 0"
        " action mirred egress mirror dev seen"
    )
    send(pod, 0x0800, ipv4(OTHER4, WORLD4, 1, echo(1)))
    assert pod.pings(WORLD4)

    said = world.node.run(f"tc -s filter show dev {name} ingress pref 200")
    assert "Sent 84 bytes 1 pkt" in said


async def test_the_guard_stays_when_the_agent_goes_and_the_next_one_goes_on_with_it(
    world, pod, guarded
):
    """Bug class 46: what stands before a pod is away for a moment."""
    send(pod, 0x0800, ipv4(OTHER4, WORLD4, 1, echo(1)))
    before = world.node.run(f"tc filter show dev {guarded.birth.host.name} ingress")

    with world.node.entered():
        async with open_kernel() as next_kernel:
            actual = await next_kernel.read_attachment(guarded)

            assert plan_attach(guarded, actual) == ()

    assert world.node.run(f"tc filter show dev {guarded.birth.host.name} ingress") == before
    await dropped(world, guarded, GuardReason.SOURCE_ADDRESS, 1)


async def test_the_guard_is_there_before_the_pods_end_is_up(guarded):
    operations = plan_attach(guarded, unborn(guarded))
    kinds = [type(one.object) if isinstance(one, Put) else type(one) for one in operations]
    in_pod = [one for one in operations if isinstance(one, Put) and one.netns != NODE]

    assert kinds.index(Guard) < operations.index(in_pod[0])


async def test_links_that_are_gone_are_forgotten(world, pod, guarded):
    """Bug class 47: what one link leaves must not be the next one's."""
    guards = Guards()
    with world.node.entered(), open_route_socket() as sock:
        owners = guards.open(sock).maps["owners"]
        assert len(list(owners.keys())) == 1

        guards.forget_others(())

        assert list(owners.keys()) == []


async def test_packets_from_another_mac_ring_once_and_the_watch_makes_the_guard_fit(
    world, kernel, pod, guarded
):
    # bug class 28: a MAC that somebody changed
    held = attachment(1, netns=pod.path)

    class Fitter:
        fitted = asyncio.Event()

        async def fit_guard(self, one: Attachment) -> bool:
            changes = plan_guard(guarded, await kernel.read_inside(guarded))
            await kernel.apply(changes)
            self.fitted.set()
            return bool(changes)

    fitter = Fitter()
    watch = GuardWatch(
        open_bell=kernel.open_bell, fitter=fitter, attachments=lambda: (held,), turns=Turns()
    )
    task = asyncio.create_task(watch.run())
    pod.run("ip link set eth0 address 02:00:00:00:77:02")

    await asyncio.to_thread(pod.pings, WORLD4)  # perhaps answered: ARP asks again after a second
    async with asyncio.timeout(20):
        await fitter.fitted.wait()
    assert await asyncio.to_thread(pod.pings, WORLD4)
    assert drops(world, guarded).keys() == {GuardReason.SOURCE_MAC}

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
