"""Pods come and go behind a load balancer under load, and not one request is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.kube.resource import PODS
from tests.support.balanced_services import (
    FAR,
    NLB_CLASS,
    RAW_PODS,
    Market,
    once,
    open_market,
)
from tests.support.cloud_balanced import eventually
from tests.support.rolled_out import (
    DEPLOYMENTS,
    ask_for_gates,
    deployment,
    is_rolled_out,
    names_of,
    roll_out,
)

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

SLEEP_S = 10  # many times what it takes on a busy machine; users have 25


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market() -> AsyncIterator[Market]:
    conf = {"readinessGatePreStopSeconds": SLEEP_S}
    async with open_market(nodes=2, control_plane_conf=conf) as market:
        await ask_for_gates(market)
        yield market


@pytest.mark.parametrize(("name", "class_"), [("clb", None), ("nlb", NLB_CLASS)])
async def test_ten_pods_are_replaced_under_load_and_no_request_is_lost(
    market: Market, name: str, class_: str | None
):
    # The Service first: pods that are made before it have no gate.
    await market.service(name, loadBalancerClass=class_)
    address = (await market.addresses(name))[0]
    await market.lab.kube.create(DEPLOYMENTS, deployment(name, 10))
    await eventually(lambda: is_rolled_out(market, name, 10))
    before = await names_of(market, name)
    over = asyncio.Event()
    clients = [asyncio.create_task(market.load(address, over)) for _ in range(4)]

    await roll_out(market, name)
    await eventually(lambda: is_rolled_out(market, name, 10), timeout_s=180)

    async def are_gone() -> bool:
        return not before & await names_of(market, name)

    await eventually(are_gone)
    over.set()
    answers = sum((await asyncio.gather(*clients)), start=type(clients[0].result())())
    after = await names_of(market, name)

    assert market.troubles == []
    assert not before & after
    assert after <= set(answers)
    assert sum(answers.values()) > 100
    await market.lab.kube.delete(DEPLOYMENTS, name, namespace="default")
    await market.remove(name)


async def test_a_pod_gets_nothing_new_before_it_is_told_to_end(market: Market):
    await market.service("web")
    (address,) = await market.addresses("web")
    probe = {"labels": {"app": "web"}}
    ending = await market.pod("ending", "node-1", **probe)
    await market.pod("staying", "node-2", **probe)
    made = await market.lab.kube.get(RAW_PODS, "ending", namespace="default")
    assert made is not None
    sleep = made["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]
    assert sleep == {"seconds": SLEEP_S}
    assert made["spec"]["terminationGracePeriodSeconds"] == 2 + SLEEP_S
    flow = None
    while flow is None:
        held = await market.outside.connect(address, port=80, source=FAR)
        if (await held.line(b"?")).startswith(b"ending "):
            flow = held
        else:
            await held.close()

    await market.lab.kube.delete(PODS, "ending", namespace="default")
    groups = market.lab.cloud.world.state.balancing.vserver_groups

    def is_weighed() -> bool:
        return any(
            (str(one.ip), one.weight) == (str(ending.addresses.v4), 0)
            for group in groups.values()
            for one in group.servers
        )

    await once(market.lab, is_weighed)

    # It does not end yet: who is connected is served.
    assert (await flow.line(b"?")).startswith(b"ending ")
    await eventually(lambda: _all_from(market, address, "staying"))
    await flow.close()
    await market.remove("web")


async def _all_from(market: Market, address, name: str) -> bool:
    return {(await market.ask(address))[0] for _ in range(4)} == {name}
