"""The controller of Services: against the emulated cloud, over the Kubernetes API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from terway.controlplane.balancers.objects import FINALIZER
from terway.loadbalancer.values import NLB_CLASS
from tests.support.balancer_shop import (
    INTRANET,
    PREFIX,
    RAW,
    RAW_SLICES,
    Shop,
    name_of,
    open_shop,
    running,
)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


async def test_a_service_becomes_an_instance_with_pods_right_behind_it(shop: Shop) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a, b)
    await shop.make_service()
    [where] = await shop.until(shop.ingress)
    [instance] = await shop.slb.list_instances()
    assert [where["ip"]] == [str(one) for one in instance.addresses]
    assert instance.is_protected_from_deletion
    await shop.until(lambda: serves(shop, a, b))
    [listener] = await shop.slb.list_listeners(instance.id)
    assert listener.is_running
    assert listener.wish.port == 80


async def serves(shop: Shop, *addresses: str) -> bool:
    """Return whether these are behind: of pods a controller may hear after the Service."""
    return await shop.backends() == dict.fromkeys(addresses, 100)


async def test_nothing_is_left_when_the_service_goes(shop: Shop) -> None:
    await shop.make_service(loadBalancerSourceRanges=["203.0.113.0/24"])
    await shop.until(shop.ingress)
    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return await shop.client.get(RAW, "web", namespace="default") is None

    await shop.until(is_gone)
    assert await shop.slb.list_instances() == ()
    assert await shop.slb.list_access() == ()
    # A region may have no NLB at all.
    assert shop.cloud.cloud.calls.count("ListLoadBalancers", "ListServerGroups") == 0


async def test_an_instance_of_somebody_elses_stays_as_it_was(shop: Shop) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)
    [made] = await shop.slb.list_instances()
    # The first Service lets go of it, without taking it away: it becomes a user's.
    await shop.slb.untag(made.id, ["kubernetes.do.not.delete"])
    await shop.slb.rename(made.id, "mine")
    body = {"metadata": {"annotations": {f"{PREFIX}id": made.id}}}
    await shop.client.patch(RAW, "web", body, namespace="default")
    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return await shop.client.get(RAW, "web", namespace="default") is None

    await shop.until(is_gone)
    [kept] = await shop.slb.list_instances()
    assert (kept.id, kept.name) == (made.id, "mine")
    assert await shop.slb.list_listeners(kept.id) == ()


async def test_a_pod_that_ends_gets_no_new_connections_while_others_serve(shop: Shop) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a, b)
    await shop.make_service()
    await shop.until(shop.ingress)
    await shop.set_conditions(a, ready=False, serving=True, terminating=True)

    async def is_weighed() -> bool:
        return await shop.backends() == {a: 0, b: 100}

    await shop.until(is_weighed)
    await shop.client.delete(RAW_SLICES, f"web-{name_of(a)}", namespace="default")

    async def has_left() -> bool:
        return await shop.backends() == {b: 100}

    await shop.until(has_left)


async def test_a_gate_opens_when_the_load_balancer_sees_the_pod_healthy(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_pods(a, gated=True)
    await shop.make_service()

    async def is_behind() -> bool:
        return await shop.backends() == {a: 100}

    await shop.until(is_behind)

    async def is_shut() -> bool:  # it was open while there was no Service
        return await shop.gate(a) == "False"

    await shop.until(is_shut)
    await shop.see_healthy(a)

    async def is_open() -> bool:
        return await shop.gate(a) == "True"

    await shop.until(is_open)


async def test_an_nlb_has_both_families_and_both_protocols(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_pods(a)
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "dns", "port": 80, "protocol": "UDP", "targetPort": 8080},
    ]
    await shop.make_service(loadBalancerClass=NLB_CLASS, ports=ports)
    named, *addressed = await shop.until(shop.ingress)
    [instance] = await shop.nlb.list_instances()
    assert named == {"hostname": instance.hostname}
    # Who is inside of the cluster needs no load balancer: nodes send what is for these to pods.
    held = [{"ip": str(one), "ipMode": "VIP"} for one in instance.addresses]
    assert addressed == held

    async def has_both() -> bool:
        held = await shop.nlb.list_listeners(instance.id)
        return {(one.wish.protocol.value, one.wish.port) for one in held} == {
            ("TCP", 80),
            ("UDP", 80),
        }

    await shop.until(has_both)

    async def is_behind() -> bool:
        groups = {one.name: one for one in await shop.nlb.list_groups()}
        tcp = next((one for name, one in groups.items() if "TCP-80" in name), None)
        return tcp is not None and [str(one.address) for one in tcp.backends] == [a]

    await shop.until(is_behind)
    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return await shop.client.get(RAW, "web", namespace="default") is None

    await shop.until(is_gone)
    assert await shop.nlb.list_instances() == ()
    assert await shop.nlb.list_groups() == ()


async def test_each_family_has_an_address_of_its_own(shop: Shop) -> None:
    await shop.make_service(ipFamilyPolicy="RequireDualStack", annotations={})

    async def has_both() -> bool:
        return sorted(":" in one["ip"] for one in await shop.ingress()) == [False, True]

    await shop.until(has_both)


async def test_only_the_source_ranges_are_let_in(shop: Shop) -> None:
    await shop.make_service(loadBalancerSourceRanges=["203.0.113.0/24"])
    await shop.until(shop.ingress)
    [instance] = await shop.slb.list_instances()
    [access] = await shop.slb.list_access()

    async def has_list() -> bool:
        held = await shop.slb.list_listeners(instance.id)
        return [one.wish.access and one.wish.access.acl_id for one in held] == [access.id]

    await shop.until(has_list)
    assert [str(network) for network, _ in access.entries] == ["203.0.113.0/24"]
    patch = {"spec": {"loadBalancerSourceRanges": None}}
    await shop.client.patch(RAW, "web", patch, namespace="default")

    async def has_none() -> bool:
        return await shop.slb.list_access() == ()

    await shop.until(has_none)


async def test_nothing_is_changed_when_all_is_as_wanted(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_pods(a)
    annotations = {
        **INTRANET,
        f"{PREFIX}scheduler": "sch",
        f"{PREFIX}connection-drain": "on",
        f"{PREFIX}connection-drain-timeout": "30",
        f"{PREFIX}health-check-type": "http",
        f"{PREFIX}health-check-uri": "/healthz",
        f"{PREFIX}persistence-timeout": "60",
        f"{PREFIX}additional-resource-tags": "team=shop",
    }
    await shop.make_service(annotations=annotations)
    await shop.until(shop.ingress)
    await shop.until(lambda: serves(shop, a))
    before = shop.cloud.cloud.calls.count()
    made = len(shop.cloud.cloud.calls.mutating)
    # Whoever changes a label of the Service has its controller look again, at all of it.
    for number in range(3):
        patch = {"metadata": {"labels": {"seen": str(number)}}}
        await shop.client.patch(RAW, "web", patch, namespace="default")

        async def has_looked(since: int = before) -> bool:
            return shop.cloud.cloud.calls.count() > since

        await shop.until(has_looked)
    assert [one.action for one in shop.cloud.cloud.calls.mutating[made:]] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": {f"{PREFIX}scheduler": "best"}}, "scheduler: 'best' is none of wrr"),
        ({"annotations": {f"{PREFIX}cps": "9"}}, "cps: '9' is not done here"),
        (
            {"annotations": {f"{PREFIX}protocol-port": "https:80", f"{PREFIX}cert-id": "c"}},
            "cert-id: 'c' is refused by the cloud: correct it, or take it out",
        ),
        ({"annotations": {f"{PREFIX}id": "lb-none"}}, "lb-none does not exist"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "IPv6 is of the internet"),
    ],
)
async def test_what_cannot_be_is_told_at_the_service(
    shop: Shop, changes: dict[str, Any], words: str
) -> None:
    await shop.make_service(**changes)
    assert words in await shop.tells("SyncLoadBalancerFailed")


async def test_a_service_of_another_class_is_left_alone(shop: Shop) -> None:
    await shop.make_service(loadBalancerClass="example.com/other")
    # One that is ours comes after it, and is done: so the other has been looked at.
    await shop.make_service(name="ours")

    async def is_held() -> bool:
        ours = await shop.client.get(RAW, "ours", namespace="default")
        return ours is not None and FINALIZER in ours["metadata"].get("finalizers", [])

    await shop.until(is_held)
    found = await shop.client.get(RAW, "web", namespace="default")
    assert found is not None
    assert FINALIZER not in found["metadata"].get("finalizers", [])


async def is_gone(shop: Shop) -> bool:
    return await shop.client.get(RAW, "web", namespace="default") is None


async def change(shop: Shop, body: dict[str, Any]) -> None:
    await shop.client.patch(RAW, "web", body, namespace="default")


async def test_a_service_goes_whatever_it_says_by_then(shop: Shop) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)
    await change(shop, {"metadata": {"annotations": {f"{PREFIX}scheduler": "best"}}})
    await shop.tells("SyncLoadBalancerFailed")
    await shop.client.delete(RAW, "web", namespace="default")
    await shop.until(lambda: is_gone(shop))
    assert await shop.slb.list_instances() == ()


async def test_the_instance_of_a_family_goes_with_the_family(shop: Shop) -> None:
    await shop.make_service(ipFamilyPolicy="RequireDualStack", annotations={})

    async def has_two() -> bool:
        return len(await shop.slb.list_instances()) == len(await shop.ingress()) == 2

    await shop.until(has_two)
    await change(shop, {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})

    async def has_one() -> bool:
        return len(await shop.slb.list_instances()) == 1 and len(await shop.ingress()) == 1

    await shop.until(has_one)


async def test_nothing_of_an_nlb_is_left_when_the_service_is_no_balancer_any_more(
    shop: Shop,
) -> None:
    """The API server takes the class from it with the type."""
    await shop.make_service(loadBalancerClass=NLB_CLASS)
    await shop.until(shop.ingress)
    await change(shop, {"spec": {"type": "ClusterIP", "loadBalancerClass": None}})

    async def is_free() -> bool:
        found = await shop.client.get(RAW, "web", namespace="default")
        return found is not None and FINALIZER not in found["metadata"].get("finalizers", [])

    await shop.until(is_free)
    assert await shop.nlb.list_instances() == ()
    assert await shop.nlb.list_groups() == ()
    assert await shop.ingress() == []


async def test_an_instance_that_a_service_names_is_kept_though_we_made_it(shop: Shop) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)
    [made] = await shop.slb.list_instances()
    await change(shop, {"metadata": {"annotations": {f"{PREFIX}id": made.id}}})
    await shop.client.delete(RAW, "web", namespace="default")
    await shop.until(lambda: is_gone(shop))
    [kept] = await shop.slb.list_instances()
    assert kept.id == made.id


async def test_a_gate_of_no_load_balancer_holds_nobody_up(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    await shop.make_service(type="ClusterIP", allocateLoadBalancerNodePorts=None)
    await shop.make_pods(a, gated=True)

    async def is_open() -> bool:
        return await shop.gate(a) == "True"

    await shop.until(is_open)


async def test_a_pod_that_ends_serves_on_while_the_next_waits_at_its_gate(shop: Shop) -> None:
    a, b = shop.pod_addresses(2)
    await shop.make_pods(a)
    await shop.make_pods(b, gated=True)
    await shop.make_service()
    await shop.until(shop.ingress)
    await shop.set_conditions(a, ready=False, serving=True, terminating=True)

    async def has_both() -> bool:
        return await shop.backends() == {a: 100, b: 100}

    await shop.until(has_both)
    await shop.set_conditions(b, ready=True)

    async def is_followed() -> bool:
        return await shop.backends() == {a: 0, b: 100}

    await shop.until(is_followed)


async def test_a_port_that_comes_back_is_listened_at_again(shop: Shop) -> None:
    """The cloud would answer the token of the first group with that group, gone as it is."""
    [a] = shop.pod_addresses(1)
    await shop.make_pods(a)
    await shop.make_service(loadBalancerClass=NLB_CLASS)
    await shop.until(shop.ingress)
    [instance] = await shop.nlb.list_instances()

    async def ports() -> list[int]:
        return [one.wish.port for one in await shop.nlb.list_listeners(instance.id)]

    for port in (81, 80):
        said = [{"name": "http", "port": port, "targetPort": 8080}]
        await change(shop, {"spec": {"ports": said}})

        async def has_moved(port: int = port) -> bool:
            groups = await shop.nlb.list_groups()
            return await ports() == [port] and [len(one.backends) for one in groups] == [1]

        await shop.until(has_moved)


async def test_an_instance_that_somebody_deleted_is_made_again(shop: Shop) -> None:
    await shop.make_service()
    await shop.until(shop.ingress)
    [made] = await shop.slb.list_instances()
    await shop.slb.protect(made.id, from_deletion=False, from_console=False)
    await shop.slb.delete_instance(made.id)
    await change(shop, {"metadata": {"labels": {"look": "again"}}})

    async def is_another() -> bool:
        return [one.id for one in await shop.slb.list_instances()] not in ([], [made.id])

    await shop.until(is_another)
