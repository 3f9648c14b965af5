"""Who is inside of the cluster asks a load balancer of the cluster: nothing goes out and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.balanced_services import NLB_CLASS, PORT, Market, open_market

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market() -> AsyncIterator[Market]:
    """Open a lab without kube-proxy: nodes have programs in its place."""
    async with open_market(nodes=2, cni={"eniip_virtual_type": "datapathv2"}) as market:
        yield market


@pytest.mark.parametrize("class_", [None, NLB_CLASS])
async def test_a_pod_reaches_its_own_load_balancer(market: Market, class_: str | None) -> None:
    """The way out and back would be a loop: its node sends it to a pod right away."""
    name = "inner-nlb" if class_ else "inner-clb"
    pod = await market.pod(f"{name}-1", "node-1", labels={"app": name})
    other = await market.lab.pod(f"{name}-other", node="node-2")
    await market.service(name, loadBalancerClass=class_)
    address = (await market.addresses(name))[0]
    await market.answered_by(address, [f"{name}-1"])

    for asker in (pod, other):
        for _ in range(3):
            flow = await asker.connect(address, port=PORT)
            async with flow:
                who, seen = (await flow.line(b"?")).decode().split()
            assert who == f"{name}-1"
            if asker is other:
                assert seen == str(other.addresses.v4)
    await market.remove(name)
