"""An ENI that is unplugged under running pods, and comes back as another link, carries them on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from terway.lab.cloud.inprocess import inprocess_ecs_client
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.iproute import ip_here
from tests.support.kernel_node import WORLD_V4, WORLD_V6, kernel_node, node_state, sh
from tests.support.kill_walk import eventually, read_state

pytestmark = pytest.mark.root


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@pytest.fixture
async def world(machine):
    async with emulated_cloud(machine) as world:
        yield world


def table_of(ifname):
    (link,) = ip_here("link", "show", ifname)
    return 1000 + link["ifindex"]


def is_plugged(ifname):
    return ifname in {one["ifname"] for one in ip_here("link")}


async def add(daemon, container, pod):
    ran = await daemon.node.run("ADD", CNI_CONTAINERID=container, CNI_NETNS=pod)
    assert ran.exit_code == 0, ran.stdout
    return [ip["address"].partition("/")[0] for ip in ran.json["ips"]]


def ports(world):
    """Return the ports of the pool's ENIs, the one that was plugged first at the front."""
    found = (one for one in world.cloud.vpc_state().ports if one.ifname != "eth0")
    return sorted(found, key=lambda port: port.ifname)


def tell_vpc(machine, port, addresses, ifname):
    machine.know(*addresses, mac=port.mac, far=f"vpc-{ifname}")


def ping_world(machine, pod):
    machine.ping(pod, WORLD_V4)
    machine.ping(pod, WORLD_V6)


def moved(state, tables):
    """Return the node's state as it must be once each of `tables` has got its new number."""
    text = "\n".join(state)
    for before, after in tables.items():
        text = text.replace(f"lookup {before}", f"lookup new{after}")
        text = text.replace(f"table {before}", f"table new{after}")
    return sorted(text.replace("new", "").splitlines())


async def test_an_eni_that_was_detached_under_a_pod_is_attached_and_used_again(
    world, machine, tmp_path
):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path) as daemon:
        addresses = await add(daemon, "c1", pod)
        (port,) = ports(world)
        state, table = node_state(), table_of("eth1")

        await inprocess_ecs_client(world.cloud).detach_eni(port.eni_id, world.instance_id)

        async def is_as_before():
            if not is_plugged("eth1") or table_of("eth1") == table:
                return False
            return sorted(node_state()) == moved(state, {table: table_of("eth1")})

        await eventually(is_as_before)
        tell_vpc(machine, port, addresses, "eth1")
        ping_world(machine, pod)


async def test_enis_that_come_back_in_the_other_order_carry_their_own_pods(
    world, machine, tmp_path
):
    pods = [machine.pod() for _ in range(4)]
    few: dict[str, Any] = {"max_enis": 2, "ipv4_per_eni": 2, "ipv6_per_eni": 2}
    async with in_process_terwayd(world, tmp_path, **few) as daemon:
        addresses = {pod: await add(daemon, f"c{n}", pod) for n, pod in enumerate(pods)}
        first, second = ports(world)
        state, one, two = node_state(), table_of("eth1"), table_of("eth2")

        machine.unplug("eth1")
        machine.unplug("eth2")
        machine.plug("eth1", second.mac, *world.gateways())
        machine.plug("eth2", first.mac, *world.gateways())

        tables = {one: table_of("eth2"), two: table_of("eth1")}

        async def rules_lead_to_the_new_tables():
            wanted = moved(state, tables)
            here = sorted(node_state())
            return rules_of(here) == rules_of(wanted) and eni_tables() == {*tables.values()}

        await eventually(rules_lead_to_the_new_tables)
        for pod, owned in addresses.items():
            is_first = owned[0] in map(str, first.ipv4)
            port, ifname = (first, "eth2") if is_first else (second, "eth1")
            tell_vpc(machine, port, owned, ifname)
            ping_world(machine, pod)


async def test_an_eni_that_is_away_keeps_its_rules_and_keeps_nothing_else_from_being_mended(
    world, machine, tmp_path
):
    few: dict[str, Any] = {"max_enis": 2, "ipv4_per_eni": 1, "ipv6_per_eni": 1}
    async with in_process_terwayd(world, tmp_path, **few) as daemon:
        owned = [await add(daemon, f"c{number}", machine.pod()) for number in range(2)]
        first = ports(world)[0]
        away, near = sorted(owned, key=lambda one: one[0] not in map(str, first.ipv4))
        rules = sorted(sh("ip rule").splitlines())

        machine.unplug("eth1")
        sh(f"ip rule del from {near[0]}")

        async def are_as_before():
            return sorted(sh("ip rule").splitlines()) == rules

        await eventually(are_as_before)
        assert f"from {away[0]} " in "\n".join(rules)


def rules_of(lines):
    return [line for line in lines if "lookup" in line]


def eni_tables():
    """Return the tables in an ENI's range that have a route."""
    routes = [one for v in ("-4", "-6") for one in ip_here(v, "route", "show", "table", "all")]
    return {int(table) for one in routes if (table := str(one.get("table", ""))).isdigit()}


async def test_a_table_that_the_eni_had_before_is_emptied(world, machine, tmp_path):
    gateway, _ = world.gateways()
    async with in_process_terwayd(world, tmp_path) as daemon:
        await add(daemon, "c1", machine.pod())
        sh(f"ip route add default via {gateway} dev eth1 onlink table 1999")

    async with in_process_terwayd(world, tmp_path) as daemon:
        await daemon.terwayd.reconciled.wait()

        assert eni_tables() == {table_of("eth1")}


async def test_an_ADD_while_the_eni_is_away_waits_for_it_to_come_back(world, machine, tmp_path):
    async with in_process_terwayd(world, tmp_path) as daemon:
        await add(daemon, "c1", machine.pod())
        (port,) = ports(world)
        machine.unplug("eth1")
        pod = machine.pod()

        adding = asyncio.create_task(add(daemon, "c2", pod))

        async def has_an_address():
            return len((await read_state(tmp_path))["attachments"]) == 2

        await eventually(has_an_address)
        assert not adding.done()
        machine.plug("eth1", port.mac, *world.gateways())

        tell_vpc(machine, port, await adding, "eth1")
        ping_world(machine, pod)


@pytest.mark.parametrize("damage", ["ip rule del priority 2048", "ip route flush table TABLE"])
async def test_what_others_take_from_the_kernel_comes_back_at_once(
    world, machine, tmp_path, damage
):
    async with in_process_terwayd(world, tmp_path) as daemon:
        await add(daemon, "c1", machine.pod())
        state = node_state()

        sh(damage.replace("TABLE", str(table_of("eth1"))))

        async def is_as_before():
            return node_state() == state

        assert not await is_as_before()
        await eventually(is_as_before)
