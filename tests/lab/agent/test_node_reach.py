"""What the node decides about packets that its pods' own rules would lead elsewhere."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.datapath.facts import NodeFacts, Symmetric
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.nftables import OwnedTable
from terway.linux.path_mtu import read_path_mtu
from terway.model.address import Family, IPPair
from terway.model.errors import UsageError
from tests.support.cni import Node
from tests.support.kernel_node import ENI, kernel_node, sh

pytestmark = pytest.mark.root

FACTS = NodeFacts(
    addresses=IPPair(v4=IPv4Address("192.168.0.10"), v6=IPv6Address("fd00::10")),
    uplink="eth0",
    families=(Family.V4, Family.V6),
    gateways=IPPair(v4=IPv4Address("192.168.31.253"), v6=IPv6Address("fd00:0:0::fffd")),
    host_stack_cidrs=(ip_network("10.99.0.0/16"), ip_network("fd99::/64")),
    symmetric=Symmetric(),
)


@pytest.fixture
def machine():
    with kernel_node() as machine:
        yield machine


@pytest.fixture
async def network(machine):
    async with open_kernel() as kernel:
        network = KernelNetwork(kernel, FACTS, ENILinks(kernel, FACTS, lambda: (ENI,)))
        await network.prepare()
        yield network


def tunnel(machine):
    """Give the node a way of its own to a range: a namespace behind a link."""
    end = machine.pod()
    sh(f"""
        ip link add tun0 type veth peer name tun1
        # A link-local address that is being tried cannot ask for neighbours yet.
        sysctl -qw net.ipv6.conf.tun0.accept_dad=0
        ip link set tun1 netns {end.rpartition("/")[2]}
        ip addr add 10.99.255.1/16 dev tun0
        ip addr add fd99::ffff/64 dev tun0 nodad
        ip link set tun0 up
        nsenter --net={end} sh -ec '
            ip addr add 10.99.0.1/16 dev tun1; ip addr add fd99::1/64 dev tun1 nodad
            ip link set tun1 up; ip route add default via 10.99.255.1
            ip -6 route add default via fd99::ffff'
    """)


async def test_a_range_of_the_host_stack_is_reached_by_the_nodes_own_way(
    machine, network, tmp_path
):
    tunnel(machine)
    node = Node(folder=tmp_path, network=network)
    async with node.terwayd():
        pod = machine.pod()
        await node.run("ADD", CNI_NETNS=pod)

        for address in ("10.99.0.1", "fd99::1"):
            machine.ping(pod, address)
        sh("ip rule del priority 1280; ip -6 rule del priority 1280")
        for address in ("10.99.0.1", "fd99::1"):
            with pytest.raises(AssertionError):
                machine.ping(pod, address, within_s=1)


async def test_a_nodes_own_address_in_the_host_stack_is_reached(machine, network, tmp_path):
    sh("ip addr add 169.254.20.10/32 dev lo; ip -6 addr add fd53::10/128 dev lo nodad")
    node = Node(folder=tmp_path, network=network)
    async with node.terwayd():
        pod = machine.pod()
        await node.run("ADD", CNI_NETNS=pod)

        for address in ("169.254.20.10", "fd53::10"):
            machine.ping(pod, address)


async def test_the_marking_of_connections_comes_back_when_somebody_flushes_it(network):
    """Bug class 26, and what others do to rules of ours."""
    before = sh("nft list ruleset")
    assert "terway_symmetric_ipv6" in before

    sh("nft flush ruleset; ip rule del priority 600; ip route flush table 100")
    await network.sweep(lambda: (), lambda: ())

    assert sh("nft list ruleset") == before
    assert "fwmark 0x10/0x10 lookup 100" in sh("ip rule")
    assert "via 192.168.31.253 dev eth0" in sh("ip route show table 100")


async def test_other_tables_of_the_firewall_stay(network):
    sh("nft add table inet others")

    await network.prepare()

    assert "table inet others" in sh("nft list ruleset")


def test_the_path_to_the_gateway_is_as_large_as_the_smaller_link(machine):
    """Bug class 32: a link that says more than gets through."""
    sh(f"ip link set eth0 mtu 9000; ip -n {machine.vpc} link set vpc0 mtu 4000")

    assert read_path_mtu(Family.V4) in range(3990, 4040)  # a veth takes a little more than its MTU


def test_a_gateway_that_does_not_answer_leaves_the_links_own_mtu(machine):
    sh(f"ip -n {machine.vpc} link set vpc0 down; ip link set eth0 mtu 4000")
    sh("ip route replace default via 192.168.31.253 dev eth0 onlink")

    assert read_path_mtu(Family.V4) in (4000, None)


async def _without_nftables(self: Kernel, table: OwnedTable) -> bool:
    raise UsageError("libnftables.so.1 cannot be loaded; install libnftables1")


async def test_a_node_without_nftables_serves_its_pods_all_the_same(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(Kernel, "ensure_table", _without_nftables)
    async with open_kernel() as kernel:
        network = KernelNetwork(kernel, FACTS, ENILinks(kernel, FACTS, lambda: (ENI,)))
        await network.prepare()
        node = Node(folder=tmp_path, network=network)
        async with node.terwayd():
            assert (await node.run("ADD", CNI_NETNS=machine.pod())).exit_code == 0
