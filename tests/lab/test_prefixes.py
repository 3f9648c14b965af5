"""Pods of two nodes have addresses of prefixes, and the VPC carries their packets."""

from __future__ import annotations

import uuid

import pytest

from terway.lab.world.lab import Lab, open_lab
from terway.model.address import Family, IPAddress, IPNetwork

pytestmark = pytest.mark.lab

CONF = {"enable_ip_prefix": True, "ipv4_prefix_count": 2, "min_pool_size": 0, "max_pool_size": 0}


def prefixes(lab: Lab) -> dict[str, tuple[IPNetwork, ...]]:
    enis = lab.cloud.world.state.enis.values()
    return {e.id: (*e.ipv4_prefixes, *e.ipv6_prefixes) for e in enis if e.ipv4_prefixes}


def owner(lab: Lab, address: IPAddress) -> str:
    (found,) = (
        eni for eni, ranges in prefixes(lab).items() if any(address in one for one in ranges)
    )
    return found


async def test_pods_with_addresses_of_prefixes_talk_across_the_vpc():
    name = f"t{uuid.uuid4().hex[:8]}"
    async with open_lab(name=name, nodes=2, eni_conf=CONF) as lab:
        made = [await lab.pod(f"p{number}", node=f"node-{1 + number % 2}") for number in range(6)]

        owners = {owner(lab, pod.address(Family.V6)) for pod in made}
        assert len(owners) == 2
        inside = [
            pod
            for pod in made
            if any(
                pod.address(Family.V4) in one for ranges in prefixes(lab).values() for one in ranges
            )
        ]
        # One pod of each node may have the ENI's own address.
        assert len(inside) >= len(made) - 2
        there, here = inside[-1], inside[-2]
        assert there.node != here.node
        for family in Family:
            seen = await here.tool("whoami", str(there.address(family)))
            assert seen["peer"] == str(here.address(family))
            assert seen["host"] == there.name
