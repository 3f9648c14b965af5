"""Members behind VLAN devices of the kernel (8021q): what the fabric sends is what they expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.instances import (
    PODS,
    Instance,
    make_instance,
    member,
    port,
    remove_instance,
    vpc_state,
)
from tests.support.vpc_network import Network, open_network

pytestmark = [pytest.mark.root, pytest.mark.guest]

A = port(10)
TRUNK = port(20, vswitch=PODS, instance="i-20")
ONE, TWO = member(31, TRUNK, 1), member(32, TRUNK, 4094)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with open_network(tmp_path) as opened:
        yield opened


def give_vlan_device(node: Instance, eni, pod: Instance) -> None:
    """Give a pod a VLAN device on the trunk, with the member's MAC and addresses."""
    tag = f"type vlan id {eni.vlan_id}"
    node.ip(f"link add link eth0 name v{eni.vlan_id} address {eni.mac} {tag}")
    node.ip(f"link set v{eni.vlan_id} netns {pod.netns} name eth0")
    pod.configure(replace(eni, ifname="eth0"), PODS)


async def test_vlan_devices_on_a_trunk_reach_the_vpc_and_each_other(network, tmp_path):
    _, node = await network.start(vpc_state(A, TRUNK))
    await network.fabric.apply(vpc_state(A, TRUNK, ONE, TWO))
    one, two = make_instance("pod-1", tmp_path), make_instance("pod-2", tmp_path)
    try:
        give_vlan_device(node, ONE, one)
        give_vlan_device(node, TWO, two)

        assert one.can_reach(A.ipv4[0])
        assert one.can_reach(A.ipv6[0])
        assert network.instances["i-10"].can_reach(TWO.ipv4[0])
        assert one.can_reach(TWO.ipv4[0])
        assert "ee:ff:ff:ff:ff:ff" in one.ip("neigh show dev eth0")
    finally:
        remove_instance(one)
        remove_instance(two)
