"""A lab with pods of every kind: shared, member, whole, each with one interface or with two.

    node-1  a trunk:  near (shared), member, members (two of them)
    node-2  a trunk:  far (shared), other (member), pair (two shared ENIs)
    eni-1             whole, wholes (two whole ENIs; by policy routing only)

Twice: nodes that judge packets in nftables, and in eBPF.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.pod_kinds import PodKinds, open_pod_kinds
from tests.support.wires import Wires


@pytest_asyncio.fixture(
    scope="package", loop_scope="package", params=["veth", "datapathv2"], ids=["nft", "ebpf"]
)
async def kinds(request: pytest.FixtureRequest) -> AsyncIterator[PodKinds]:
    async with open_pod_kinds(request.param) as found:
        yield found


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as wires:
        yield wires
