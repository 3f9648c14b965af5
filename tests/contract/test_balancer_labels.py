"""Which load balancer a Service has stands at the Service, for as long as it has one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terway.controlplane.balancers.labels import LABEL, LABEL_V6
from tests.support.balancer_shop import RAW, Shop, open_shop, running


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


async def labels(shop: Shop) -> dict[str, str]:
    found = await shop.client.get(RAW, "web", namespace="default")
    assert found is not None
    held: dict[str, str] = found["metadata"].get("labels", {})
    return held


async def until_labelled(shop: Shop, **wanted: str) -> None:
    async def is_so() -> bool:
        return await labels(shop) == wanted

    await shop.until(is_so)


async def test_its_id_is_a_label_and_in_the_event_and_comes_back_when_it_is_taken_away(
    shop: Shop,
) -> None:
    await shop.make_service()
    told = await shop.tells("EnsuredLoadBalancer")
    [instance] = await shop.slb.list_instances()
    assert instance.id in told
    await until_labelled(shop, **{LABEL: instance.id})

    patch = {"metadata": {"labels": {LABEL: "another", "app": "web"}}}
    await shop.client.patch(RAW, "web", patch, namespace="default")

    await until_labelled(shop, **{LABEL: instance.id, "app": "web"})


async def test_each_instance_of_two_families_has_a_label_that_goes_with_it(shop: Shop) -> None:
    await shop.make_service(ipFamilyPolicy="RequireDualStack", annotations={})
    await shop.until(shop.ingress)
    ids = {":" in str(one.addresses[0]): one.id for one in await shop.slb.list_instances()}
    await until_labelled(shop, **{LABEL: ids[False], LABEL_V6: ids[True]})

    patch = {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}
    await shop.client.patch(RAW, "web", patch, namespace="default")

    await until_labelled(shop, **{LABEL: ids[False]})


async def test_a_service_that_is_no_balancer_any_more_names_none(shop: Shop) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)
    patch = {"spec": {"type": "ClusterIP"}, "metadata": {"labels": {"app": "web"}}}
    await shop.client.patch(RAW, "web", patch, namespace="default")

    await until_labelled(shop, app="web")
