"""terwayd and pods that are IPvlan children: made, checked, mended, unplugged under, given up."""

from __future__ import annotations

import json

import pytest

from terway.model.interface import Mode
from tests.support.cni import conf_of
from tests.support.emulated_node import emulated_cloud, in_process_terwayd
from tests.support.kernel_node import WORLD_V4, WORLD_V6, kernel_node, node_state, sh
from tests.support.kill_walk import eventually

pytestmark = [pytest.mark.root, pytest.mark.guest]


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("ip link del eth1")  # the cloud plugs its own
        yield machine


@pytest.fixture
async def world(machine):
    async with emulated_cloud(machine) as world:
        yield world


async def add(daemon, container, pod):
    ran = await daemon.node.run("ADD", CNI_CONTAINERID=container, CNI_NETNS=pod)
    assert ran.exit_code == 0, ran.stdout
    return ran.json


async def delete(daemon, container, pod):
    ran = await daemon.node.run("DEL", CNI_CONTAINERID=container, CNI_NETNS=pod)
    assert ran.exit_code == 0, ran.stdout


def addresses_of(result):
    return [ip["address"].partition("/")[0] for ip in result["ips"]]


def kind_in(pod):
    """Return what kind of link a pod's eth0 is; empty where it has none."""
    shown = json.loads(sh(f"nsenter --net={pod} ip -j -d link show"))
    found = (one for one in shown if one["ifname"] == "eth0")
    return next((one["linkinfo"]["info_kind"] for one in found), "")


def reaches_world(machine, world, pod, addresses):
    [port] = [one for one in world.cloud.vpc_state().ports if one.ifname != "eth0"]
    machine.know(*addresses, mac=port.mac, far="vpc-eth1")
    machine.ping(pod, WORLD_V4)
    machine.ping(pod, WORLD_V6)


def host_children():
    return [line.split()[0] for line in sh("ip -br link").splitlines() if "ipvl_" in line]


async def test_a_pod_is_made_told_checked_and_taken_away(world, machine, tmp_path):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        result = await add(daemon, "c1", pod)

        assert kind_in(pod) == "ipvlan"
        [interface] = result["interfaces"]
        assert (interface["name"], interface["sandbox"]) == ("eth0", pod)
        assert {route["gw"] for route in result["routes"]} == set(map(str, world.gateways()))
        reaches_world(machine, world, pod, addresses_of(result))
        conf = conf_of(prevResult=result)
        checked = await daemon.node.run("CHECK", conf, CNI_CONTAINERID="c1", CNI_NETNS=pod)
        assert checked.exit_code == 0, checked.stdout

        await delete(daemon, "c1", pod)

        assert kind_in(pod) == ""
        state = " ".join(node_state()).replace("/", " ").split()  # 10.0.0.1 is in 10.0.0.12
        assert not [one for one in addresses_of(result) if one in state]


async def test_an_eni_that_is_plugged_again_has_its_children_again(world, machine, tmp_path):
    pods = [machine.pod() for _ in range(2)]
    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        owned = [addresses_of(await add(daemon, f"c{n}", pod)) for n, pod in enumerate(pods)]
        await daemon.terwayd.verbs.proof.read_back()  # from then on it knows the namespaces
        [port] = [one for one in world.cloud.vpc_state().ports if one.ifname != "eth0"]

        machine.unplug("eth1")
        assert [kind_in(pod) for pod in pods] == ["", ""]
        machine.plug("eth1", port.mac, *world.gateways())

        async def are_back():
            return [kind_in(pod) for pod in pods] == ["ipvlan", "ipvlan"]

        await eventually(are_back)
        for pod, addresses in zip(pods, owned, strict=True):
            reaches_world(machine, world, pod, addresses)


async def test_a_host_child_that_somebody_deletes_comes_back_with_its_routes(
    world, machine, tmp_path
):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        addresses = addresses_of(await add(daemon, "c1", pod))
        await daemon.terwayd.reconciled.wait()
        [child], state = host_children(), node_state()

        sh(f"ip link delete {child.partition('@')[0]}")

        async def is_as_before():
            return host_children() == [child] and sorted(node_state()) == sorted(state)

        await eventually(is_as_before)
        for address in addresses:
            sh(f"ping -n -c1 -w20 {address}")


async def test_a_later_terwayd_goes_on_with_the_pods_and_takes_them_away(world, machine, tmp_path):
    pod = machine.pod()
    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        addresses = addresses_of(await add(daemon, "c1", pod))
        state = node_state()

    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        await daemon.terwayd.reconciled.wait()
        assert node_state() == state
        reaches_world(machine, world, pod, addresses)

        await delete(daemon, "c1", pod)

        assert kind_in(pod) == ""


async def test_pods_keep_their_mode_and_those_to_come_have_the_nodes(world, machine, tmp_path):
    old, new = machine.pod(), machine.pod()
    async with in_process_terwayd(world, tmp_path, mode=Mode.IPVLAN) as daemon:
        addresses = addresses_of(await add(daemon, "c1", old))

    async with in_process_terwayd(world, tmp_path) as daemon:
        others = addresses_of(await add(daemon, "c2", new))
        await daemon.terwayd.reconciled.wait()

        assert (kind_in(old), kind_in(new)) == ("ipvlan", "veth")
        reaches_world(machine, world, old, addresses)
        reaches_world(machine, world, new, others)
