"""A lab for all of them: two nodes whose pods share ENIs, two whose pods have one each.

And a second one, whose nodes judge packets in eBPF.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import open_lab
from terway.model.address import Family
from tests.support.policy_lab import POOL, Crew, PolicyLab, open_crew
from tests.support.wires import Wires


@pytest_asyncio.fixture(
    scope="package", loop_scope="package", params=["veth", "datapathv2"], ids=["nft", "ebpf"]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[PolicyLab]:
    async with open_lab(
        name=f"p{uuid.uuid4().hex[:8]}",
        nodes=2,
        pools=(POOL,),
        max_free=64,  # no address goes back to the cloud: another pod gets it
        eni_conf={"ip_cooldown_period": "1s"},
        cni={"eniip_virtual_type": request.param},
    ) as lab:
        yield PolicyLab(lab, is_ebpf=request.param == "datapathv2")


@pytest_asyncio.fixture(autouse=True, loop_scope="package")
async def nothing_in_force(world: PolicyLab) -> AsyncIterator[None]:
    yield
    await world.policies()


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as wires:
        yield wires


@pytest.fixture(params=[Family.V4, Family.V6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture(params=["node", "eni"], ids=["shared", "exclusive"])
def pool(request):
    """Say on which nodes a test's pods are: `<pool>-1` and `<pool>-2`."""
    return request.param


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def crews(world: PolicyLab) -> dict[str, Crew]:
    """Of each pool: `client` and `near` on its first node, `server` and `other` on its second."""
    return {pool: await open_crew(world.lab, pool) for pool in ("node", "eni")}


@pytest.fixture
def crew(crews: dict[str, Crew], pool: str, family: Family) -> Crew:
    return crews[pool].of(family)
