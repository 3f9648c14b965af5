"""From where an NLB may be reached: security groups that come and go with a Service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terway.lab.cloud.records import GroupRecord
from terway.loadbalancer.values import NLB_CLASS
from terway.model.balancer import InstanceWish
from terway.model.ids import ClientToken
from tests.support.balancer_shop import INTRANET, PREFIX, RAW, Shop, open_shop, running
from tests.support.cloud_world import ZONE


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


def own_groups(shop: Shop) -> dict[str, GroupRecord]:
    groups = shop.cloud.cloud.world.state.groups
    return {one: group for one, group in groups.items() if group.name.startswith("k8s-")}


def words_of(group: GroupRecord) -> set[tuple[str, str, str, bool]]:
    return {(one.protocol, one.port_range, str(one.peer), one.accept) for one in group.rules}


async def test_an_nlb_is_reached_from_its_ranges_by_a_security_group(shop: Shop) -> None:
    await shop.make_service(loadBalancerClass=NLB_CLASS, loadBalancerSourceRanges=["10.0.0.0/8"])
    await shop.until(shop.nlb.list_instances)

    async def listens() -> bool:
        [instance] = await shop.nlb.list_instances()
        return bool(await shop.nlb.list_listeners(instance.id))

    await shop.until(listens)
    [instance] = await shop.nlb.list_instances()
    [(group_id, group)] = own_groups(shop).items()
    assert instance.security_group_ids == (group_id,)
    closed = ("ALL", "-1/-1", "0.0.0.0/0", False)
    assert words_of(group) == {("ALL", "-1/-1", "10.0.0.0/8", True), closed}

    await shop.client.patch(
        RAW,
        "web",
        {"spec": {"loadBalancerSourceRanges": ["172.16.0.0/12"]}},
        namespace="default",
    )

    async def has_changed() -> bool:
        said = words_of(own_groups(shop)[group_id])
        return said == {("ALL", "-1/-1", "172.16.0.0/12", True), closed}

    await shop.until(has_changed)
    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return not own_groups(shop) and not await shop.nlb.list_instances()

    await shop.until(is_gone)


async def test_at_an_nlb_of_others_only_our_ports_are_guarded(shop: Shop) -> None:
    wish = InstanceWish(
        name="theirs",
        is_internet=False,
        vpc_id=shop.cloud.vpc_id,
        zones=((ZONE, shop.cloud.pod_vswitch),),
    )
    theirs = await shop.nlb.create_instance(wish, token=ClientToken("t"))
    by_hand = shop.cloud.group
    await shop.nlb.join_groups(theirs, (by_hand,))
    await shop.make_service(
        annotations={f"{PREFIX}id": theirs},
        loadBalancerClass=NLB_CLASS,
        loadBalancerSourceRanges=["10.0.0.0/8"],
    )

    async def is_guarded() -> bool:
        [instance] = await shop.nlb.list_instances()
        return len(instance.security_group_ids) == 2

    await shop.until(is_guarded)
    [group] = own_groups(shop).values()
    assert words_of(group) == {
        ("TCP", "80/80", "10.0.0.0/8", True),
        ("TCP", "80/80", "0.0.0.0/0", False),
    }
    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return not own_groups(shop)

    await shop.until(is_gone)
    [instance] = await shop.nlb.list_instances()
    assert instance.security_group_ids == (by_hand,)


async def test_an_nlb_is_in_the_groups_that_its_service_names(shop: Shop) -> None:
    await shop.make_service(
        annotations={**INTRANET, f"{PREFIX}security-group-ids": shop.cloud.group},
        loadBalancerClass=NLB_CLASS,
    )
    await shop.until(shop.nlb.list_instances)

    async def is_in() -> bool:
        [instance] = await shop.nlb.list_instances()
        return instance.security_group_ids == (shop.cloud.group,)

    await shop.until(is_in)
    assert own_groups(shop) == {}


async def test_nobody_is_sent_to_an_nlb_that_a_group_does_not_guard(shop: Shop) -> None:
    key = f"{PREFIX}security-group-ids"
    await shop.make_service(
        annotations={**INTRANET, key: "sg-nope"},
        loadBalancerClass=NLB_CLASS,
        loadBalancerSourceRanges=["10.0.0.0/8"],
    )

    told = await shop.tells("SyncLoadBalancerFailed")

    assert told.startswith(f"annotation {key}: 'sg-nope' is refused by the cloud: correct it")
    assert await shop.ingress() == []
    [instance] = await shop.nlb.list_instances()
    assert await shop.nlb.list_listeners(instance.id) == ()

    right = {"metadata": {"annotations": {key: shop.cloud.group}}}
    await shop.client.patch(RAW, "web", right, namespace="default")
    await shop.until(shop.ingress)
    [instance] = await shop.nlb.list_instances()
    assert set(instance.security_group_ids) == {shop.cloud.group, *own_groups(shop)}


async def test_a_vswitch_that_does_not_exist_is_told_by_its_annotation(shop: Shop) -> None:
    key = f"{PREFIX}zone-maps"
    said = {**INTRANET, key: f"{ZONE}:vsw-nope", f"{PREFIX}hostname": "shop.example.com"}
    await shop.make_service(annotations=said, loadBalancerClass=NLB_CLASS)

    told = await shop.tells("SyncLoadBalancerFailed")

    assert told.startswith(f"annotation {key}: '{ZONE}:vsw-nope' (vsw-nope) is refused")
    assert await shop.ingress() == []


async def test_an_address_that_is_in_use_stays_though_another_group_is_refused(shop: Shop) -> None:
    await shop.make_service(annotations=INTRANET, loadBalancerClass=NLB_CLASS)
    there = await shop.until(shop.ingress)

    wrong = {"metadata": {"annotations": {f"{PREFIX}security-group-ids": "sg-nope"}}}
    await shop.client.patch(RAW, "web", wrong, namespace="default")

    assert "'sg-nope' is refused" in await shop.tells("SyncLoadBalancerFailed")
    assert await shop.ingress() == there
