"""A member that comes back with another VLAN id keeps its pod's addresses and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.pods import PodHandle
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family
from terway.model.errors import UsageError
from tests.lab.test_cli import run
from tests.support.podeni_lab import PodENILab, podeni_lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

HERE, FAR = "node-1", "node-2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[PodENILab]:
    async with podeni_lab(nodes=2) as made:
        await made.add_trunk(HERE)
        yield made


async def asked(one: PodHandle, other: PodHandle, family: Family) -> str:
    """Return whom `other` sees, as soon as it hears `one`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                seen = await one.tool("whoami", str(other.address(family)))
            except UsageError:
                continue
            return str(seen["peer"])


async def test_a_member_that_was_attached_again_is_reached_by_its_new_id(made):
    eni = await made.bind(HERE)
    member = await made.pod("member", HERE, [eni])
    far = await made.lab.pod("far", node=FAR)
    assert await asked(far, member, Family.V4) == str(far.address(Family.V4))

    again = await made.bind_again("member", HERE, eni)

    assert again.vlan_id != eni.vlan_id
    for family in Family:
        assert await asked(far, member, family) == str(far.address(family))
        assert await asked(member, far, family) == str(member.address(family))
    answer = await run(made.lab, "doctor", node=HERE)
    assert answer.code == 0, answer.output
