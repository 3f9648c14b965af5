"""The control plane dies in the middle of a rolling update, and not one request is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from terway.kube.watch import WatchEvent
from terway.loadbalancer.readiness import gate_of
from tests.support.balanced_services import RAW_PODS, Market, open_market
from tests.support.cloud_balanced import eventually
from tests.support.rolled_out import (
    DEPLOYMENTS,
    ask_for_gates,
    deployment,
    is_rolled_out,
    names_of,
    pods_of,
    roll_out,
)

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

REPLICAS = 6
# As by default, only faster: pods wait longer before they end than the next leader is awaited.
CONF = {
    "leaseDuration": "4s",
    "renewDeadline": "3s",
    "retryPeriod": "500ms",
    "readinessGatePreStopSeconds": 12,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market() -> AsyncIterator[Market]:
    async with open_market(nodes=2, control_plane_conf=CONF) as market:
        await ask_for_gates(market)
        yield market


async def one_ends(market: Market) -> None:
    """Return at the moment that a pod is told to end."""
    listing = await market.lab.kube.list(RAW_PODS, namespace="default")
    events = market.lab.kube.watch(RAW_PODS, since=listing.resource_version)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, WatchEvent) and "deletionTimestamp" in event.object["metadata"]:
                return
    raise AssertionError("no pod was told to end")


async def test_no_request_is_lost_when_the_control_plane_is_killed_in_a_rolling_update(
    market: Market,
):
    # given pods behind a load balancer, under load
    await market.service("web")
    address = (await market.addresses("web"))[0]
    await market.lab.kube.create(DEPLOYMENTS, deployment("web", REPLICAS))
    await eventually(lambda: is_rolled_out(market, "web", REPLICAS))
    before = await names_of(market, "web")
    over = asyncio.Event()
    clients = [asyncio.create_task(market.load(address, over)) for _ in range(4)]

    # when they are replaced, and the control plane is killed as the first of them is to end
    watching = asyncio.create_task(one_ends(market))
    await roll_out(market, "web")
    await watching
    await market.kill_control_plane()
    await eventually(lambda: is_rolled_out(market, "web", REPLICAS), timeout_s=180)

    async def are_gone() -> bool:
        return not before & await names_of(market, "web")

    await eventually(are_gone)
    over.set()
    answers = sum((await asyncio.gather(*clients)), start=type(clients[0].result())())

    # then nobody has noticed, and each new pod has waited for the load balancer
    assert market.troubles == []
    after = await pods_of(market, "web")
    assert {one["metadata"]["name"] for one in after} <= set(answers)
    gates = [one["spec"].get("readinessGates") for one in after]
    assert gates == [[{"conditionType": gate_of("web")}]] * REPLICAS
    assert sum(answers.values()) > 100
