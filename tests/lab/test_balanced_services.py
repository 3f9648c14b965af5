"""Services of type LoadBalancer in a whole lab: pods right behind CLB and NLB, with packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from terway.lab.world.plan import PROBER
from terway.lab.world.service_objects import SERVICES
from terway.lab.world.waiting import PATIENCE_S
from tests.support import web_client, web_server
from tests.support.balanced_services import (
    FAR,
    FAR_V6,
    NLB_CLASS,
    OTHER,
    PORT,
    RAW_PODS,
    SERVED,
    Market,
    open_market,
)
from tests.support.cloud_balanced import eventually

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

BOTH = [
    {"name": "web", "port": PORT, "targetPort": SERVED},
    {"name": "dns", "port": PORT, "targetPort": SERVED, "protocol": "UDP"},
]
# One that is killed is followed sooner than by default.
SOON = {"leaseDuration": "6s", "renewDeadline": "5s", "retryPeriod": "1s"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def market() -> AsyncIterator[Market]:
    async with open_market(nodes=2, control_plane_conf=SOON) as market:
        yield market


async def test_a_pod_sees_its_client_through_a_clb_without_node_ports(market: Market):
    await market.pod("plain-1", "node-1", labels={"app": "plain"})
    await market.service("plain")
    (address,) = await market.addresses("plain")

    assert await market.answered_by(address, ["plain-1"]) == ("plain-1", FAR)
    found = await market.read("plain")
    assert "nodePort" not in found["spec"]["ports"][0]
    await market.remove("plain")
    assert not await market.clb.list_instances()


@pytest.mark.parametrize("class_", [None, NLB_CLASS])
async def test_tcp_and_udp_of_one_number_in_both_families(market: Market, class_: str | None):
    name = "mixed-nlb" if class_ else "mixed-clb"
    await market.pod(f"{name}-1", "node-1", labels={"app": name})
    await market.service(
        name, loadBalancerClass=class_, ports=BOTH, ipFamilyPolicy="RequireDualStack"
    )

    async def has_both() -> bool:
        return {one.version for one in await market.addresses(name)} == {4, 6}

    await eventually(has_both)
    for address in await market.addresses(name):
        source = FAR if address.version == 4 else FAR_V6
        assert (await market.answered_by(address, [f"{name}-1"], source=source))[1] == source

        async def is_heard(address=address, source=source) -> bool:
            return (await market.datagram(address, source=source)).split() == [f"{name}-1", source]

        await eventually(is_heard)
    await market.remove(name)
    assert not await market.clb.list_instances()
    assert not await market.nlb.list_groups()


@pytest.mark.parametrize("class_", [None, NLB_CLASS])
async def test_only_sources_of_the_ranges_are_let_in(market: Market, class_: str | None):
    name = "ranged-nlb" if class_ else "ranged-clb"
    groups = market.lab.cloud.world.state.groups
    before = set(groups)
    await market.pod(f"{name}-1", "node-2", labels={"app": name})
    await market.service(name, loadBalancerSourceRanges=[f"{FAR}/32"], loadBalancerClass=class_)
    address = (await market.addresses(name))[0]

    await market.answered_by(address, [f"{name}-1"])
    assert not await market.is_answered(address, source=OTHER)

    await market.change(name, {"spec": {"loadBalancerSourceRanges": [f"{OTHER}/32"]}})
    await market.answered_by(address, [f"{name}-1"], source=OTHER)
    assert not await market.is_answered(address)

    await market.change(name, {"spec": {"loadBalancerSourceRanges": None}})
    await market.answered_by(address, [f"{name}-1"])
    assert await market.is_answered(address, source=OTHER)
    await market.remove(name)
    assert not await market.clb.list_access()
    assert set(groups) == before


async def test_an_instance_is_protected_and_made_again_if_somebody_deletes_it(market: Market):
    await market.pod("kept-1", "node-1", labels={"app": "kept"})
    await market.service("kept")
    await market.addresses("kept")
    (instance,) = await market.clb.list_instances()
    with pytest.raises(Exception, match="DeleteProtection"):
        await market.clb.delete_instance(instance.id)

    await market.clb.protect(instance.id, from_deletion=False, from_console=False)
    await market.clb.delete_instance(instance.id)
    # Whatever is changed has it looked at; by itself it is every five minutes.
    await market.change("kept", {"metadata": {"labels": {"look": "again"}}})

    async def has_another() -> bool:
        held = await market.clb.list_instances()
        return bool(held) and held[0].id != instance.id

    await eventually(has_another)

    async def is_reached() -> bool:
        return await market.is_answered((await market.addresses("kept"))[0])

    await eventually(is_reached)
    await market.remove("kept")


async def test_an_instance_that_was_there_is_used_and_left_as_it_was(market: Market):
    await market.pod("first-1", "node-1", labels={"app": "first"})
    await market.pod("guest-1", "node-2", labels={"app": "guest"})
    await market.service("first")
    (address,) = await market.addresses("first")
    (instance,) = await market.clb.list_instances()
    await market.answered_by(address, ["first-1"])

    # Its port is another's: told, and not taken.
    await market.service("guest", {"id": instance.id})

    async def is_told() -> bool:
        return await market.has_said("guest", "is not this Service's: take another port")

    await eventually(is_told)
    ports = [{"name": "web", "port": 81, "targetPort": SERVED}]
    await market.change("guest", {"spec": {"ports": ports}})
    await market.answered_by(address, ["guest-1"], port=81)
    assert await market.ask(address) == ("first-1", FAR)

    await market.remove("guest")
    listeners = await market.clb.list_listeners(instance.id)
    assert [one.wish.port for one in listeners] == [PORT]
    assert len(await market.clb.list_groups(instance.id)) == 1
    assert await market.ask(address) == ("first-1", FAR)
    await market.remove("first")


WEB = ("/usr/bin/env", "python3", "-I", "-S", "-c", Path(web_server.__file__).read_text())
HOST = "shop.example.com"


async def test_requests_come_by_https_with_the_certificate_of_the_service(market: Market):
    identity = web_client.identity_of(HOST)
    pods = [
        await market.lab.pod(f"https-{number}", labels={"app": "https"}, command=(*WEB, "8080"))
        for number in (1, 2)
    ]
    ports = [{"name": str(port), "port": port, "targetPort": SERVED} for port in (80, 443)]
    said = {
        "protocol-port": "https:443,http:80",
        "cert-id": web_client.upload(market.lab.cloud, identity),
        "forward-port": "80:443",
        "health-check-flag": "on",
        "health-check-uri": "/healthz",
        "health-check-timeout": "30",  # a busy machine makes nobody ill
        "sticky-session": "on",
        "sticky-session-type": "insert",
        "cookie-timeout": "60",
        "xforwardedfor-proto": "on",
    }
    await market.service("https", said, ports=ports, ipFamilyPolicy="RequireDualStack")

    async def has_both() -> bool:
        return len(await market.addresses("https")) == 2

    await eventually(has_both)
    address, address_v6 = await market.addresses("https")
    ask = partial(
        web_client.ask,
        market.outside.netns_path,
        address=address,
        port=443,
        source=FAR,
        host=HOST,
        tls=web_client.trusting(identity),
    )

    async def is_answered_by(count: int, **more: Any) -> bool:
        try:
            said = [(await ask(**more, timeout_s=5.0)).said for _ in range(4)]
            return len({one["pod"] for one in said}) == count
        except (OSError, EOFError, TimeoutError, ValueError):
            return False  # nobody is healthy yet

    await eventually(partial(is_answered_by, 2))
    first = await ask(path="/a?b=1", body=b"cart")
    assert first.said["body"] == "cart"
    assert first.said["told"]["x-forwarded-for"] == FAR
    assert first.said["told"]["x-forwarded-proto"] == "https"
    assert first.said["seen"] == str(PROBER)

    by_v6: dict[str, Any] = {"address": address_v6, "source": FAR_V6}
    await eventually(partial(is_answered_by, 2, **by_v6))
    assert (await ask(**by_v6)).said["told"]["x-forwarded-for"] == FAR_V6

    cookie = first.head.get("Set-Cookie").partition(";")[0]
    again = [await ask(fields=(f"Cookie: {cookie}",)) for _ in range(3)]
    assert {one.said["pod"] for one in again} == {first.said["pod"]}

    led_on = await ask(port=80, tls=None, path="/a?b=1")
    assert (led_on.head.status, led_on.head.get("Location")) == (302, f"https://{HOST}/a?b=1")
    ingress = (await market.read("https"))["status"]["loadBalancer"]["ingress"]
    assert [one["ipMode"] for one in ingress] == ["Proxy", "Proxy"]
    async with await pods[0].connect(address, port=80) as inside:  # out, and in again
        assert (await inside.line(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 302")

    # One leaves while requests go on: none is lost, whatever cookie they bring.
    leaving = next(one for one in pods if one.name == first.said["pod"])
    patch = {"metadata": {"labels": {"app": "gone"}}}
    await market.lab.kube.patch(RAW_PODS, leaving.name, patch, namespace="default")
    who = leaving.name
    async with asyncio.timeout(PATIENCE_S):
        while who == leaving.name:
            who = (await ask(fields=(f"Cookie: {cookie}",))).said["pod"]
    assert {(await ask()).said["pod"] for _ in range(4)} == {who}
    await market.remove("https")


async def test_a_control_plane_that_dies_at_any_moment_leaves_one_of_each(market: Market):
    """Bug class 7: what was begun is found by its tags, and neither lost nor made twice."""
    await market.pod("hard-1", "node-1", labels={"app": "hard"})
    await market.service("hard", loadBalancerSourceRanges=[f"{FAR}/32"])

    async def has_begun() -> bool:
        return bool(await market.clb.list_instances())

    await eventually(has_begun)
    await market.kill_control_plane()

    async def is_reached() -> bool:
        held = await market.addresses("hard")
        return await market.is_answered(held[0])

    await eventually(is_reached, timeout_s=120)
    assert len(await market.clb.list_instances()) == 1
    assert len(await market.clb.list_access()) == 1
    (instance,) = await market.clb.list_instances()
    assert len(await market.clb.list_groups(instance.id)) == 1

    await market.lab.kube.delete(SERVICES, "hard", namespace="default")
    await market.kill_control_plane()

    async def is_gone() -> bool:
        return await market.lab.kube.get(SERVICES, "hard", namespace="default") is None

    await eventually(is_gone, timeout_s=120)
    assert not await market.clb.list_instances()
    assert not await market.clb.list_access()
