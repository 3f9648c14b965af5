"""CNI requirements that show in the kernel: A1, A4, D1, D4, K2 to K5, in both families."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.datapath.facts import NodeFacts
from terway.linux.kernel import open_kernel
from terway.model.address import Family, IPPair
from tests.support.cni import Node, conf_of
from tests.support.kernel_node import (
    ENI,
    WORLD_V4,
    WORLD_V6,
    kernel_node,
    links_are_gone,
    node_state,
    sh,
)

pytestmark = pytest.mark.root

FACTS = NodeFacts(
    addresses=IPPair(v4=IPv4Address("192.168.0.10"), v6=IPv6Address("fd00::10")),
    uplink="eth0",
    families=(Family.V4, Family.V6),
)


@pytest.fixture
def machine():
    with kernel_node() as machine:
        sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        yield machine


@pytest.fixture
async def node(machine, tmp_path):
    async with open_kernel() as kernel:
        enis = ENILinks(kernel, FACTS, lambda: (ENI,))
        node = Node(folder=tmp_path, network=KernelNetwork(kernel, FACTS, enis))
        async with node.terwayd():
            yield node


def links_of_the_node():
    """Return number and name of each link; whether one has a carrier is found out later."""
    return {(link["ifindex"], link["ifname"]) for link in json.loads(sh("ip -j link"))}


def addresses(netns, ifname="eth0"):
    (link,) = json.loads(sh(f"nsenter --net={netns} ip -j addr show dev {ifname}"))
    return {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"]}


async def test_A1_the_interface_is_there_with_its_addresses_and_packets_flow(node, machine):
    pod = machine.pod()
    machine.know("192.168.32.10", "2408:4005::a")

    result = (await node.run("ADD", CNI_NETNS=pod)).json

    assert {ip["address"] for ip in result["ips"]} <= addresses(pod)
    for address in (WORLD_V4, WORLD_V6, "192.168.0.10", "fd00::10"):
        machine.ping(pod, address)


async def test_A1_two_pods_of_a_node_reach_each_other(node, machine):
    one, two = machine.pod(), machine.pod()
    await node.run("ADD", CNI_CONTAINERID="one", CNI_NETNS=one)
    await node.run("ADD", CNI_CONTAINERID="two", CNI_NETNS=two)

    machine.ping(one, "192.168.32.11")
    machine.ping(two, "2408:4005::a")


async def test_A4_an_interface_that_exists_already_is_an_error_and_stays(node, machine):
    pod = machine.pod()
    sh(f"ip -n {machine.pods[0]} link add eth0 type veth peer name x0")

    ran = await node.run("ADD", CNI_NETNS=pod)

    assert (ran.exit_code, ran.json["code"]) == (1, 101)
    assert node.pool.attachments() == ()
    sh(f"ip -n {machine.pods[0]} link show eth0")


async def test_a_netns_that_is_none_is_refused_with_8(node, tmp_path):
    (tmp_path / "file").touch()

    for path in ("/run/netns/absent", str(tmp_path / "file")):
        assert (await node.run("ADD", CNI_NETNS=path)).json["code"] == 8
    assert node.pool.attachments() == ()


async def test_A5_an_ADD_again_makes_no_second_link(node, machine):
    pod = machine.pod()
    first = await node.run("ADD", CNI_NETNS=pod)
    links = links_of_the_node()

    assert (await node.run("ADD", CNI_NETNS=pod)).json == first.json
    assert links_of_the_node() == links


async def test_an_ADD_after_its_DEL_in_the_same_netns_works_at_once(node, machine):
    pod = machine.pod()

    for _ in range(3):
        assert (await node.run("ADD", CNI_NETNS=pod)).exit_code == 0
        assert (await node.run("DEL", CNI_NETNS=pod)).exit_code == 0


@pytest.mark.parametrize("gone", [False, True])
async def test_D1_D4_DEL_leaves_nothing_with_or_without_the_netns(node, machine, gone):
    pod = machine.pod()
    await node.run("ADD", CNI_CONTAINERID="eni", CNI_NETNS=machine.pod())
    await node.run("DEL", CNI_CONTAINERID="eni")
    await links_are_gone("cali")
    before = node_state()
    await node.run("ADD", CNI_NETNS=pod)
    if gone:
        sh(f"ip netns del {machine.pods[0]}")

    assert (await node.run("DEL", CNI_NETNS=pod)).exit_code == 0

    await links_are_gone("cali")
    assert node_state() == before
    assert node.pool.attachments() == ()


DAMAGE = {
    "the address": "nsenter --net={pod} ip addr del 192.168.32.10/32 dev eth0",
    "the default route": "nsenter --net={pod} ip route del default",
    "the IPv6 default route": "nsenter --net={pod} ip -6 route del default",
    "the link": "nsenter --net={pod} ip link set eth0 down",
    "the route to the pod": "ip route del 192.168.32.10/32",
    "the rule from the pod": "ip rule del from 192.168.32.10 priority 2048",
    "the rule to the pod": "ip -6 rule del to 2408:4005::a priority 512",
    "the veth": "nsenter --net={pod} ip link del eth0",
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_K3_K4_CHECK_misses_what_was_taken_away(node, machine, what):
    pod = machine.pod()
    result = (await node.run("ADD", CNI_NETNS=pod)).json
    sh(DAMAGE[what].format(pod=pod))

    ran = await node.run("CHECK", conf_of(prevResult=result), CNI_NETNS=pod)

    assert (ran.exit_code, ran.json["code"]) == (1, 102)


async def test_K2_CHECK_tolerates_what_later_plugins_changed(node, machine):
    pod = machine.pod()
    result = (await node.run("ADD", CNI_NETNS=pod)).json
    sh(f"""nsenter --net={pod} sh -ec '
        ip link set eth0 mtu 1300 promisc on
        ip addr add 10.99.0.1/24 dev eth0
        ip route add 10.0.0.0/8 via 169.254.1.1 dev eth0 onlink
        tc qdisc add dev eth0 root tbf rate 10mbit burst 10kb latency 1ms'""")

    ran = await node.run("CHECK", conf_of(prevResult=result), CNI_NETNS=pod)

    assert (ran.exit_code, ran.stdout) == (0, b"")


def named(result, mac):
    (end,) = (one for one in result["interfaces"] if one.get("sandbox"))
    end["mac"] = mac
    return conf_of(prevResult=result)


async def test_K2_CHECK_takes_the_mac_that_a_later_plugin_gave_and_put_in_the_result(node, machine):
    pod, mac = machine.pod(), "02:00:00:00:00:AA"
    result = (await node.run("ADD", CNI_NETNS=pod)).json
    sh(f"nsenter --net={pod} ip link set eth0 address {mac}")

    assert (await node.run("CHECK", named(result, mac), CNI_NETNS=pod)).exit_code == 0
    assert (await node.run("CHECK", named(result, ""), CNI_NETNS=pod)).exit_code == 0


async def test_K3_CHECK_misses_the_mac_that_the_result_has(node, machine):
    pod = machine.pod()
    result = (await node.run("ADD", CNI_NETNS=pod)).json

    ran = await node.run("CHECK", named(result, "02:00:00:00:00:aa"), CNI_NETNS=pod)

    assert (ran.exit_code, ran.json["code"]) == (1, 102)
    assert "02:00:00:00:00:aa" in ran.json["msg"]


async def test_K5_CHECK_fails_when_the_netns_is_gone(node, machine):
    pod = machine.pod()
    result = (await node.run("ADD", CNI_NETNS=pod)).json
    sh(f"ip netns del {machine.pods[0]}")

    ran = await node.run("CHECK", conf_of(prevResult=result), CNI_NETNS=pod)

    assert ran.json["code"] == 102


async def test_the_mtu_of_the_configuration_is_the_links(node, machine):
    pod = machine.pod()

    await node.run("ADD", conf_of(mtu=1400), CNI_NETNS=pod)

    assert "mtu 1400" in sh(f"nsenter --net={pod} ip link show eth0")
