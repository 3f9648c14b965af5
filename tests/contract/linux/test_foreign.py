"""Changes of others are heard, on the node and in pods; our own and everyday ones are not."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from terway.linux import foreign
from terway.linux.apply import apply
from terway.linux.foreign import (
    Change,
    ChangesLost,
    Kind,
    decode,
    name_of_process,
    open_foreign_changes,
)
from terway.linux.netlink.port import is_own, next_port, process_of
from terway.linux.session import open_session
from terway.model.address import Family
from terway.model.network import NODE, Put, RoutingRule
from tests.support.netns import scratch_netns

pytestmark = pytest.mark.root

MARK = "ip rule add from 10.99.99.99 lookup 99"  # what ends the listening


async def heard(change, *, mark=MARK):
    """Return what is told of `change`, a callable, in a thread of its own."""
    with open_foreign_changes() as changes:
        await asyncio.to_thread(change)
        return await until_marked(changes)


async def until_marked(changes):
    found: list[Change | ChangesLost] = []
    async for one in changes.read():
        is_rule = isinstance(one, Change) and isinstance(one.object, RoutingRule)
        if is_rule and one.object.table == 99:
            return found
        found.append(one)
    raise AssertionError("the changes ended")


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (Kind.LINK, "ip link set lo mtu 2000"),
        (Kind.ADDRESS, "ip address add 10.0.0.1/32 dev lo"),
        (Kind.ADDRESS, "ip address add fd00::1/128 dev lo; ip address del fd00::1/128 dev lo"),
        (Kind.ROUTE, "ip route add 10.0.0.0/8 dev lo"),
        (Kind.ROUTE, "ip route add fd00::/64 dev lo proto static"),
        (Kind.RULE, "ip rule add from 10.0.0.1 lookup 77"),
        (Kind.RULE, "ip -6 rule add from fd00::1 lookup 77"),
        (Kind.NEIGHBOUR, "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev lo nud permanent"),
        (Kind.SETTING, "sysctl -qw net.ipv4.conf.lo.rp_filter=2"),
        (Kind.SETTING, "sysctl -qw net.ipv4.ip_forward=1"),
        (Kind.SETTING, "sysctl -qw net.ipv6.conf.all.forwarding=1"),
        (Kind.TRAFFIC, "tc qdisc add dev lo root pfifo"),
    ],
)
async def test_what_another_program_changes_is_heard(netns, kind, command):
    def change():
        netns.run(command)
        netns.run(MARK)

    found = await heard(change)

    assert kind in {one.kind for one in found}
    deeds = [one for one in found if one.kind is kind]
    # Of links, settings and IPv6 addresses the kernel names nobody.
    if kind not in (Kind.LINK, Kind.SETTING) and "address add fd00" not in command:
        assert any(one.process not in (0, os.getpid()) for one in deeds)


async def test_what_we_change_ourselves_wakes_nobody(netns):
    def change():
        ours = RoutingRule(family=Family.V4, priority=512, table=77)
        with open_session() as session:
            apply([Put(netns=NODE, object=ours)], session)
        netns.run(MARK)

    assert await heard(change) == []


async def test_neighbours_that_come_and_go_by_themselves_wake_nobody(netns):
    def change():
        netns.run("ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up")
        netns.run("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev d0 nud reachable")
        netns.run("ip neigh change 10.0.0.9 lladdr 02:00:00:00:00:02 dev d0 nud stale")
        netns.run(MARK)

    found = await heard(change)

    assert Kind.NEIGHBOUR not in {one.kind for one in found}


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (Kind.ROUTE, "ip route del 10.0.0.0/8 dev eth0"),
        (Kind.ADDRESS, "ip address del 10.1.1.1/32 dev eth0"),
        (Kind.NEIGHBOUR, "ip neigh del 10.0.0.9 dev eth0"),
    ],
)
async def test_what_is_done_inside_of_a_pod_is_heard_with_the_pods_number(netns, kind, command):
    with scratch_netns("pod") as pod:
        netns.run(f"ip link add cali1 type veth peer name eth0 netns {pod.path}")
        netns.run("ip link set cali1 up")
        pod.run("ip link set eth0 up; ip address add 10.1.1.1/32 dev eth0")
        pod.run("ip route add 10.0.0.0/8 dev eth0")
        pod.run("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
        netns.run("ip -d link show cali1")  # gives the pod's namespace its number here

        def change():
            pod.run(command)
            netns.run(MARK)

        found = [one for one in await heard(change) if one.kind is kind and one.nsid is not None]

    # Its link-local address the pod's kernel makes itself, at a moment of its own.
    assert any(one.process not in (0, os.getpid()) for one in found)


async def test_more_events_than_fit_are_told_as_lost(netns):
    with open_foreign_changes() as changes:

        def flood():
            lines = 'for (n = 0; n < 9000; n++) print "rule add priority", n, "lookup 7"'
            netns.run(f"awk 'BEGIN {{ {lines} }}' | ip -batch -")

        await asyncio.to_thread(flood)
        async for one in changes.read():
            if isinstance(one, ChangesLost):
                break


def test_our_ports_tell_that_they_are_ours():
    ports = [next_port() for _ in range(2000)]

    assert all(is_own(port) and process_of(port) == os.getpid() for port in ports)
    assert not is_own(os.getpid() + 1)
    assert not is_own(0)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 40, bytes(16)])
def test_half_a_message_is_no_change(data):
    assert list(decode(data, None)) == []


@pytest.fixture
def machines_processes(monkeypatch):
    """Be in the machine's pid namespace, wherever the tests run."""
    own = os.stat("/proc/self/ns/pid").st_ino
    monkeypatch.setattr(foreign, "_PID_NS_INIT_INO", own)


def test_a_process_of_this_network_namespace_has_a_name(machines_processes):
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert name_of_process(process.pid)
        finally:
            process.kill()
    assert name_of_process(process.pid) == ""  # it has ended


def test_a_process_of_another_network_namespace_cannot_have_been_it(machines_processes):
    with scratch_netns() as netns, netns.entered():
        assert name_of_process(os.getppid()) is None


def test_no_number_means_anything_in_a_pid_namespace_of_our_own(monkeypatch):
    monkeypatch.setattr(foreign, "_PID_NS_INIT_INO", 0)

    assert name_of_process(os.getpid()) is None
