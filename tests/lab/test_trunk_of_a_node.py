"""`enable_eni_trunking` where the node sees to its own ENIs: it makes a trunk, and says which."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.agent.trunk_note import TRUNK_ON
from terway.kube.resource import NODES
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.waiting import PATIENCE_S
from terway.model.eni import ENIStatus, ENIType

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    name = f"t{uuid.uuid4().hex[:8]}"
    eni_conf = {"enable_eni_trunking": True, "ipam_type": "default"}
    async with open_lab(name=name, nodes=1, eni_conf=eni_conf) as lab:
        yield lab


async def test_a_node_makes_one_trunk_and_notes_it_on_its_node_object(lab):
    await lab.pod("ordinary", node="node-1")

    async with asyncio.timeout(PATIENCE_S):
        while not (trunk := await _noted(lab)):
            pass

    enis = lab.cloud.world.state.enis.values()
    (found,) = [one for one in enis if one.type is ENIType.TRUNK]
    assert found.id == trunk
    assert found.status is ENIStatus.IN_USE
    assert found.instance_id == lab.instances["node-1"].id


async def _noted(lab: Lab) -> str:
    node = await lab.kube.get(NODES, "node-1")
    assert node is not None
    return node.metadata.annotations.get(TRUNK_ON, "")
