"""What the cloud refuses of a Service holds up nothing else of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from terway.lab.cloud.faults import Fault
from terway.model.errors import ConflictError
from tests.support.balancer_shop import (
    INTRANET,
    PREFIX,
    RAW,
    Shop,
    open_shop,
    running,
)

ALWAYS = 10_000
CODE = "OperationFailed.NotNow"  # of no class that we know


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


async def test_a_name_that_the_cloud_refuses_holds_up_no_backend_and_no_gate(shop: Shop) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a)
    await shop.make_service()
    await shop.until(shop.ingress)
    fault = Fault(action="SetLoadBalancerName", count=ALWAYS, code=CODE, status=400)
    shop.cloud.cloud.faults.add(fault)
    said = {"metadata": {"annotations": {**INTRANET, f"{PREFIX}name": "other"}}}
    await shop.client.patch(RAW, "web", said, namespace="default")
    assert CODE in await shop.tells("SyncLoadBalancerFailed")

    # when a pod comes, and another ends
    await shop.make_pods(b, gated=True)
    await shop.set_conditions(a, ready=False, serving=True, terminating=True)

    async def has_both() -> bool:
        return set(await shop.backends()) == {a, b}

    await shop.until(has_both)
    await shop.see_healthy(b)

    async def is_open() -> bool:
        return await shop.gate(b) == "True"

    await shop.until(is_open)
    await shop.set_conditions(b, ready=True)

    async def is_weighed() -> bool:
        return await shop.backends() == {a: 0, b: 100}

    await shop.until(is_weighed)

    # and when the cloud takes the name, nobody has to look
    shop.cloud.cloud.faults.clear()

    async def is_named() -> bool:
        [instance] = await shop.slb.list_instances()
        return instance.name == "other"

    await shop.until(is_named)


async def test_a_service_that_is_no_load_balancer_any_more_says_so_before_it_is_let_go(
    shop: Shop,
) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)

    spec = {"type": "ClusterIP", "allocateLoadBalancerNodePorts": None}
    await shop.client.patch(RAW, "web", {"spec": spec}, namespace="default")

    async def is_let_go() -> bool:
        found = await shop.client.get(RAW, "web", namespace="default")
        assert found is not None
        return not found["metadata"].get("finalizers")

    await shop.until(is_let_go)
    assert await shop.ingress() == []
    assert await shop.slb.list_instances() == ()


async def test_a_service_that_another_writes_meanwhile_is_tried_again_without_a_word(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = shop.client.patch
    raced: list[str] = []

    async def patch_after_another(
        resource: Any, name: str, change: dict[str, Any], **options: Any
    ) -> Any:
        if "finalizers" in change.get("metadata", {}) and not raced:
            await patch(resource, name, {"metadata": {"labels": {"seen": "1"}}}, **options)
        try:
            return await patch(resource, name, change, **options)
        except ConflictError:
            raced.append(name)
            raise

    monkeypatch.setattr(shop.client, "patch", patch_after_another)

    await shop.make_service()
    await shop.until(shop.ingress)

    assert raced == ["web"]
    assert [why for why, _ in shop.told] == ["EnsuredLoadBalancer"]
