"""Pods whose packets go by the eBPF data path: the same reach as by policy routing, and faster.

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=2,
        cni={"eniip_virtual_type": "datapathv2"},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"a": "node-1", "near": "node-1", "far": "node-2"}
    made = await asyncio.gather(*(lab.pod(name, node=node) for name, node in places.items()))
    return {pod.name: pod for pod in made}


@both
@pytest.mark.parametrize("target", ["near", "far"])
async def test_pods_reach_each_other_in_both_directions(pods, target, family):
    for one, other in ((pods["a"], pods[target]), (pods[target], pods["a"])):
        seen = await one.tool("whoami", str(other.address(family)))

        assert seen["peer"] == str(one.address(family))
