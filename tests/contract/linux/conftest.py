"""A node's namespace with ENIs, entered by the test, so that the threads it starts are inside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from terway.linux.kernel import Kernel, open_kernel
from tests.support.netns import NodeWithENI, ScratchNetns, node_with_eni, scratch_netns


@pytest.fixture
def netns() -> Iterator[ScratchNetns]:
    with scratch_netns() as made, made.entered():
        yield made


@pytest.fixture
def pod() -> Iterator[ScratchNetns]:
    with scratch_netns("pod") as made:
        made.run("ip link set lo down")
        yield made


@pytest.fixture
def world() -> Iterator[NodeWithENI]:
    with node_with_eni() as made, made.node.entered():
        yield made


@pytest.fixture
async def kernel(world: NodeWithENI) -> AsyncIterator[Kernel]:
    async with open_kernel() as opened:
        yield opened
