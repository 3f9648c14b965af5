"""Pods that wait for a Service which is refused know why they wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from terway.lab.cloud.faults import Fault
from terway.loadbalancer.readiness import REFUSED
from tests.support.balancer_shop import (
    GATE,
    INTRANET,
    PREFIX,
    RAW,
    RAW_PODS,
    RAW_SLICES,
    Shop,
    name_of,
    open_shop,
    running,
)

CODE = "OperationFailed.NotNow"  # of no class that we know


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


async def condition(shop: Shop, address: str) -> dict[str, Any]:
    found = await shop.client.get(RAW_PODS, name_of(address), namespace="default")
    assert found is not None
    return next((one for one in found["status"]["conditions"] if one["type"] == GATE), {})


async def annotate(shop: Shop, **said: str | None) -> None:
    annotations = {PREFIX + name.replace("_", "-"): value for name, value in said.items()}
    body = {"metadata": {"annotations": annotations}}
    await shop.client.patch(RAW, "web", body, namespace="default")


async def until_told(shop: Shop, address: str, word: str) -> None:
    async def is_told() -> bool:
        held = await condition(shop, address)
        return held.get("reason") == REFUSED and word in held["message"]

    await shop.until(is_told)
    assert (await condition(shop, address))["status"] == "False"
    assert any(why == REFUSED and "Service web" in text and word in text for why, text in shop.told)


async def until_open(shop: Shop, address: str) -> None:
    async def is_open() -> bool:
        return (await condition(shop, address)).get("status") == "True"

    await shop.until(is_open)


async def test_a_pod_says_that_its_service_is_refused_until_it_is_mended(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_service(annotations={**INTRANET, f"{PREFIX}bandwith": "3"})
    await shop.tells("SyncLoadBalancerFailed")
    await shop.make_pods(a, gated=True)
    await until_told(shop, a, "bandwith: '3' is not known here")

    # what is wrong next is told, too
    await annotate(shop, bandwith=None, scheduler="best")
    await until_told(shop, a, "'best' is none of")

    await annotate(shop, scheduler=None)
    await shop.until(shop.ingress)
    await shop.see_healthy(a)
    await until_open(shop, a)


async def test_a_pod_says_what_the_cloud_refuses_of_its_service_and_says_it_once(
    shop: Shop,
) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_service(annotations={**INTRANET, f"{PREFIX}vswitch-id": "vsw-nope"})
    await shop.tells("SyncLoadBalancerFailed")
    await shop.make_pods(a, gated=True)
    await until_told(shop, a, "vswitch-id: 'vsw-nope' is refused by the cloud")

    async def is_told_again() -> bool:
        return sum(why == "SyncLoadBalancerFailed" for why, _ in shop.told) > 2

    await shop.until(is_told_again)
    assert sum(why == REFUSED for why, _ in shop.told) == 1


async def test_a_gate_that_is_open_stays_open_when_its_service_is_refused(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_pods(a, gated=True)
    await shop.make_service()
    await shop.until(shop.ingress)
    await shop.see_healthy(a)
    await until_open(shop, a)

    await annotate(shop, scheduler="best")

    assert "'best' is none of" in await shop.tells("SyncLoadBalancerFailed")
    assert (await condition(shop, a))["status"] == "True"
    assert REFUSED not in {why for why, _ in shop.told}


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {"annotations": {f"{PREFIX}adress-type": "intranet"}}},
        {"metadata": {"annotations": {f"{PREFIX}address-type": "intern"}}},
        {"spec": {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}},
    ],
    ids=["unknown", "wrong", "impossible"],
)
async def test_what_is_there_sends_to_the_pods_that_there_are_and_stays_as_it_is(
    shop: Shop, wrong: dict[str, Any]
) -> None:
    """A pod that goes leaves the group: connections to it would be lost."""
    a, b, c = shop.pod_addresses(3)
    await shop.make_pods(a, b)
    await shop.make_service()
    await shop.until(shop.ingress)
    before = await shop.slb.list_instances()
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "more", "port": 81}]
    spec = {"spec": {**wrong.get("spec", {}), "ports": ports}}
    await shop.client.patch(RAW, "web", {**wrong, **spec}, namespace="default")
    assert "until then only its backends follow" in await shop.tells("SyncLoadBalancerFailed")

    await shop.set_conditions(a, ready=False, serving=True, terminating=True)
    await shop.make_pods(c)

    await until_behind(shop, {a: 0, b: 100, c: 100})
    await shop.client.delete(RAW_SLICES, f"web-{name_of(a)}", namespace="default")
    await until_behind(shop, {b: 100, c: 100})
    assert await shop.slb.list_instances() == before
    assert [one.wish.port for one in await shop.slb.list_listeners(before[0].id)] == [80]


async def test_what_the_cloud_takes_late_of_a_refused_service_is_tried_until_it_does(
    shop: Shop,
) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a)
    await shop.make_service()
    await until_behind(shop, {a: 100})
    fault = Fault(action="AddVServerGroupBackendServers", count=10_000, code=CODE, status=400)
    shop.cloud.cloud.faults.add(fault)
    await annotate(shop, scheduler="best")
    await shop.make_pods(b)

    async def is_told() -> bool:
        return any(CODE in text for _, text in shop.told)

    await shop.until(is_told)
    shop.cloud.cloud.faults.clear()
    await until_behind(shop, {a: 100, b: 100})


async def until_behind(shop: Shop, weights: dict[str, int]) -> None:
    async def is_so() -> bool:
        return await shop.backends() == weights

    await shop.until(is_so)


async def test_a_pod_that_comes_while_its_service_is_refused_is_ready_when_it_is_healthy(
    shop: Shop,
) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a)
    await shop.make_service()
    await shop.until(shop.ingress)
    await annotate(shop, scheduler="best")
    await shop.tells("SyncLoadBalancerFailed")

    await shop.make_pods(b, gated=True)

    await until_behind(shop, {a: 100, b: 100})
    await shop.see_healthy(b)
    await until_open(shop, b)
