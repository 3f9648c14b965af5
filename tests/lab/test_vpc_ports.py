"""The life of ports: plugged in, moved, replaced, repaired, many at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from terway.lab.vpc.fabric import Fabric
from terway.lab.vpc.plan import fabric_name
from terway.lab.vpc.state import VpcState
from terway.model.errors import TransientError, UsageError
from terway.model.ids import InstanceId
from tests.support.instances import (
    NODES,
    PODS,
    Instance,
    make_instance,
    port,
    remove_instance,
    vpc_state,
)
from tests.support.iproute import ip_here
from tests.support.vpc_network import Network, open_network

pytestmark = pytest.mark.root

A, B = port(10), port(11)
SECOND = port(20, vswitch=PODS, instance="i-10", ifname="eth1")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with open_network(tmp_path) as opened:
        yield opened


async def test_a_port_appears_in_its_instance_by_name_mac_and_mtu_and_is_left_down(network):
    one = await network.instance("i-10")

    await network.fabric.apply(vpc_state(replace(A, mtu_bytes=8500)))

    (link,) = ip_here("link", "show", "eth0", netns=one.netns)
    assert (link["address"], link["mtu"]) == (A.mac, 8500)
    assert "UP" not in link["flags"]
    assert one.ip("addr show eth0").count("inet") == 0


async def test_an_eni_may_be_taken_from_one_instance_and_given_to_another(network):
    one, _ = await network.start(vpc_state(A, B))
    two = await network.instance("i-12")
    await network.fabric.apply(vpc_state(A, B, SECOND))
    assert "eth1" in one.ip("link")

    moved = replace(SECOND, instance_id=two.id)
    await network.fabric.apply(vpc_state(A, B, moved))

    assert "eth1" not in one.ip("link")
    two.configure(moved, PODS)
    assert one.can_reach(SECOND.ipv4[0])


async def test_a_detached_eni_is_gone_when_apply_returns_and_attaches_again(network):
    one, _ = await network.start(vpc_state(A, B))

    for _ in range(3):
        await network.fabric.apply(vpc_state(B))
        assert "eth0" not in one.ip("link")
        await network.fabric.apply(vpc_state(A, B))
        one.configure(A, NODES)

    assert one.can_reach(B.ipv4[0])


def number_and_mac(instance: Instance) -> tuple[int, str]:
    """Return what another link would have another of; its carrier is found a little later."""
    (link,) = ip_here("link", "show", "eth0", netns=instance.netns)
    return link["ifindex"], link["address"]


async def test_the_same_state_twice_touches_nothing(network):
    one, _ = await network.start(vpc_state(A, B))
    before = number_and_mac(one)

    await network.fabric.apply(vpc_state(B, A))

    assert number_and_mac(one) == before
    assert one.can_reach(B.ipv4[0])


async def test_a_secondary_address_works_from_when_it_is_assigned_until_it_is_not(network):
    one, two = await network.start(vpc_state(A, B))
    two.ip(f"addr add {NODES.cidr[77]}/32 dev eth0")
    assert not one.can_reach(NODES.cidr[77], within_s=1)

    await network.fabric.apply(vpc_state(A, replace(B, ipv4=(*B.ipv4, NODES.cidr[77]))))
    assert one.can_reach(NODES.cidr[77])
    await network.fabric.apply(vpc_state(A, B))
    assert not one.can_reach(NODES.cidr[77], within_s=1)


async def test_ports_wait_for_their_instance_to_be_bound(network):
    await network.fabric.apply(vpc_state(A))

    one = await network.instance("i-10")

    assert "eth0" in one.ip("link")
    await network.fabric.unbind(one.id)
    assert "eth0" not in one.ip("link")


async def test_a_link_that_was_lost_comes_back_with_the_next_apply(network):
    one, _ = await network.start(vpc_state(A, B))
    one.ip("link del eth0")

    await network.fabric.apply(vpc_state(A, B))

    one.configure(A, NODES)
    assert one.can_reach(B.ipv4[0])


async def test_a_link_that_its_instance_renamed_and_moved_goes_on_as_it_is(network):
    one, two = await network.start(vpc_state(A, B))
    pod = make_instance("pod", network.directory)
    one.ip("link set eth0 down")
    one.ip(f"link set eth0 netns {pod.netns} name net1")

    await network.fabric.apply(vpc_state(A, B))
    pod.configure(replace(A, ifname="net1"), NODES)

    assert two.can_reach(A.ipv4[0])
    remove_instance(pod)


async def test_one_instance_that_is_gone_does_not_stop_the_others(network):
    one = await network.instance("i-10")
    await network.fabric.bind(InstanceId("i-11"), str(network.directory / "no-such-namespace"))

    with pytest.raises(TransientError, match="no-such-namespace"):
        await network.fabric.apply(vpc_state(A, B))

    assert "eth0" in one.ip("link")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (vpc_state(A, replace(B, ipv4=A.ipv4)), "192.168.0.10 belongs to eni-10"),
        (vpc_state(replace(A, ipv4=(NODES.cidr[-3],))), "gateway of vsw-nodes"),
        (vpc_state(A, vswitches=()), "no vSwitch vsw-nodes"),
        (vpc_state(A, groups=()), "no security group sg-open"),
        (vpc_state(A, replace(B, mac=A.mac)), "two ports have mac"),
        (vpc_state(replace(A, mtu_bytes=9001)), "MTU 9001"),
    ],
)
async def test_an_impossible_state_is_refused_and_the_last_one_stays(network, state, words):
    one, _ = await network.start(vpc_state(A, B))

    with pytest.raises(UsageError, match=words):
        await network.fabric.apply(state)

    assert one.can_reach(B.ipv4[0])


async def test_three_hundred_ports_are_plugged_in_and_out_in_seconds(network):
    for number in range(10):
        await network.instance(f"i-{number}")
    ports = [
        port(100 + n, vswitch=PODS, instance=f"i-{n % 10}", ifname=f"eth{n // 10}")
        for n in range(300)
    ]

    started = time.monotonic()
    await network.fabric.apply(vpc_state(*ports))
    plugged = time.monotonic()
    await network.fabric.apply(VpcState())
    unplugged = time.monotonic()

    print(f"300 ports in {plugged - started:.2f} s, out in {unplugged - plugged:.2f} s")
    assert plugged - started < 20
    assert unplugged - plugged < 20


async def test_a_fabric_that_died_leaves_nothing_that_stops_the_next(tmp_path):
    instance = make_instance("i-10", tmp_path)
    died = Fabric(run_dir=tmp_path, map_sizes={"flows": 1024})
    await died.open()
    await died.bind(instance.id, instance.netns)
    await died.apply(vpc_state(A))

    async with Fabric(run_dir=tmp_path, map_sizes={"flows": 1024}) as fabric:
        await fabric.bind(instance.id, instance.netns)
        await fabric.apply(vpc_state(A))
        assert "eth0" in instance.ip("link")

    await died.close()
    remove_instance(instance)


async def test_nothing_is_left_when_the_fabric_is_closed(tmp_path):
    instance = make_instance("i-10", tmp_path)
    async with Fabric(run_dir=tmp_path, map_sizes={"flows": 1024}) as fabric:
        await fabric.bind(instance.id, instance.netns)
        await fabric.apply(vpc_state(A))
        inside = Instance(id=instance.id, netns=fabric.vpc_netns_path)
        assert fabric_name(A.eni_id) in inside.ip("link show")

    assert not list((tmp_path / "netns").iterdir())
    remove_instance(instance)
