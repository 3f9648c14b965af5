"""What only a real kernel shows: hot-plug, uplinks, connections, deletion in groups."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest
import uvloop

from terway.linux.apply import REAPED_GROUP
from terway.linux.kernel import open_kernel
from terway.linux.monitor import Changed, EventsLost, Watched, open_monitor
from terway.linux.reaper import Reaper
from terway.linux.workers import Workers
from terway.model.address import Family
from terway.model.ids import MacAddress
from terway.model.network import DeleteLink, Link
from tests.support.netns import scratch_netns

pytestmark = pytest.mark.root

MAC = MacAddress("00:16:3e:00:00:42")
PLUG = f"ip link add eth9 address {MAC} type veth peer name port9"


async def test_an_eni_is_found_when_it_is_plugged_in_later(netns):
    async with open_kernel() as kernel, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(kernel.link_by_mac(MAC))
        await kernel.links()  # the waiter has begun

        await asyncio.to_thread(netns.run, PLUG)

        assert (await waiting).name == "eth9"


def test_the_monitor_works_on_uvloop_too(netns):
    async def scenario() -> str:
        with open_monitor(Watched.LINKS) as monitor:
            await asyncio.to_thread(netns.run, PLUG)
            return await _first_link(monitor.events(), "eth9")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == "eth9"


async def _first_link(events, name: str) -> str:
    async for event in events:
        if isinstance(event, Changed) and event.link is not None and event.link.name == name:
            return name
    raise AssertionError("the monitor ended")


@pytest.mark.parametrize(
    ("watched", "command"),
    [
        (Watched.LINKS, "ip link set lo mtu 2000"),
        (Watched.ADDRESSES, "ip address add 10.0.0.1/32 dev lo"),
        (Watched.ADDRESSES, "ip address add fd00::1/128 dev lo"),
        (Watched.ROUTES, "ip route add 10.0.0.0/8 dev lo"),
        (Watched.ROUTES, "ip route add fd00::/64 dev lo"),
        (Watched.RULES, "ip rule add from 10.0.0.1 lookup 77"),
        (Watched.RULES, "ip -6 rule add from fd00::1 lookup 77"),
    ],
)
async def test_each_kind_of_change_is_told(netns, watched, command):
    with open_monitor(watched) as monitor:
        netns.run(command)

        event = await anext(monitor.events())

    assert isinstance(event, Changed)
    assert (event.kind, event.is_gone) == (watched, False)


async def test_routes_that_the_kernel_makes_by_itself_are_not_told(netns):
    with open_monitor(Watched.ROUTES, Watched.RULES) as monitor:
        netns.run(
            "ip link set lo up; ip address add 10.0.0.1/24 dev lo; ip rule add priority 7 lookup 77"
        )

        event = await anext(monitor.events())

    assert isinstance(event, Changed)
    assert event.kind is Watched.RULES


async def test_a_link_is_there_as_long_as_it_has_its_name_and_number(netns):
    netns.run(PLUG)
    async with open_kernel() as kernel:
        found = await kernel.find_link(MAC)
        assert found is not None

        assert kernel.has_link("eth9", found.ifindex)
        netns.run("ip link del eth9")
        assert not kernel.has_link("eth9", found.ifindex)
        netns.run(PLUG)
        assert not kernel.has_link("eth9", found.ifindex)


async def test_a_link_that_goes_is_told_as_gone(netns):
    netns.run(PLUG)
    with open_monitor(Watched.LINKS) as monitor:
        netns.run("ip link del eth9")

        async for event in monitor.events():
            if isinstance(event, Changed) and event.is_gone:
                break

    assert isinstance(event, Changed)
    assert isinstance(event.link, Link)


async def test_lost_events_are_told_instead_of_missed(netns):
    with open_monitor(Watched.ROUTES) as monitor:
        # more than a socket holds
        netns.run(
            "for n in $(seq 250); do for m in $(seq 8); do echo route add 10.$m.$n.0/24"
            " dev lo; done; done | ip -batch -"
        )

        seen = [event async for event in _until_lost(monitor.events())]

    assert seen[-1] == EventsLost()


async def _until_lost(events):
    async for event in events:
        yield event
        if isinstance(event, EventsLost):
            return


async def test_doomed_links_are_deleted_together(netns):
    for number in range(5):
        netns.run(f"ip link add a{number} type veth peer name b{number}")
    async with open_kernel() as kernel:
        with open_monitor(Watched.LINKS) as monitor:
            await kernel.apply([DeleteLink(name=f"a{number}") for number in range(5)])
            gone = set()
            async for event in monitor.events():
                if isinstance(event, Changed) and event.is_gone and event.link is not None:
                    gone.add(event.link.name)
                if len(gone) == 10:
                    break

        assert [one.name for one in await kernel.links()] == ["lo"]


async def test_links_that_a_crash_left_doomed_are_deleted_at_start(netns):
    netns.run("ip link add doomed type veth peer name other")
    netns.run(f"ip link set doomed group {REAPED_GROUP}")

    async with open_kernel() as kernel:
        assert [one.name for one in await kernel.links()] == ["lo"]


async def test_what_is_doomed_is_deleted_before_the_kernel_is_closed(netns):
    netns.run("ip link add doomed type veth peer name other")
    workers = Workers()
    async with Reaper(workers, delay_s=3600) as reaper:
        netns.run(f"ip link set doomed group {REAPED_GROUP}")
        reaper.wake()
    workers.close()

    assert "doomed" not in netns.run("ip -o link")


async def test_the_uplink_is_what_the_default_route_says(world, kernel):
    v4, v6 = await kernel.uplink(Family.V4), await kernel.uplink(Family.V6)

    assert v4 is not None
    assert v6 is not None
    assert (v4.link, str(v4.address), str(v4.gateway)) == (
        "eth0",
        "192.168.0.10",
        "192.168.31.253",
    )
    assert (v6.link, str(v6.address), str(v6.gateway)) == (
        "eth0",
        "fd00:0:0:1::10",
        "fd00:0:0:1::fffd",
    )


TRACK = """nft -f - <<'END'
table inet track {
  chain output { type filter hook output priority 0; ct state new accept; }
  chain input { type filter hook input priority 0; ct state new accept; }
}
END"""


async def test_connections_of_an_address_are_counted_and_forgotten_in_both_families(netns):
    # given tracked connections of three addresses
    netns.run(TRACK)
    mine = ["10.9.0.1", "fd00:9::1"]
    for address in (*mine, "10.9.0.2"):
        netns.run(f"ip address add {address} dev lo")
        # the kernel makes the address usable a little later than ip returns
        netns.run(f"until ping -n -c 1 -W 20 {address}; do :; done")
    mine_parsed = [ip_address(one) for one in mine]

    async with open_kernel() as kernel:
        assert await kernel.count_connections(mine_parsed) == 2
        assert await kernel.forget_connections(mine_parsed) == 2

        # then the others are remembered still
        assert await kernel.count_connections(mine_parsed) == 0
        assert await kernel.count_connections([ip_address("10.9.0.2")]) == 1


async def test_an_error_inside_the_block_comes_out_as_it_is(netns):
    with pytest.raises(ZeroDivisionError):
        async with open_kernel():
            raise ZeroDivisionError


async def test_work_that_was_begun_is_finished_before_a_cancelled_caller_goes_on(netns):
    with scratch_netns("pod") as pod:
        async with open_kernel() as kernel:
            made = f"ip link add doomed type veth peer name other netns {pod.path}"
            await asyncio.to_thread(netns.run, made)
            deleting = asyncio.create_task(kernel.apply([DeleteLink(name="doomed", now=True)]))
            await asyncio.sleep(0)  # the thread has the work

            deleting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await deleting

            assert "doomed" not in netns.run("ip -o link")
