"""The cloud's load balancers with real packets: pods behind CLB and NLB, by the cloud's own API.

Backends are pods' addresses on ENIs, and the client's address stays. What is asked of the cloud is
asked with the clients that the control plane has.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import pytest_asyncio

from terway.lab.world.lab import open_lab
from terway.lab.world.outside import outside_host
from terway.model.address import Family
from terway.model.balancer import (
    AccessRule,
    CheckKind,
    Forwarding,
    HealthStatus,
    ListenerProtocol,
)
from tests.support.cloud_balanced import FAR, HEALTH, PORT, QUICK, Shop, eventually
from tests.support.instances import socket_in

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

TCP, UDP = ListenerProtocol.TCP, ListenerProtocol.UDP
OTHER = "203.0.113.8"
FAR_V6 = "2001:db8:ffff::7"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    async with open_lab(nodes=2) as lab:
        outside = await outside_host(lab)
        for address in (FAR, OTHER, FAR_V6):
            await outside.add_address(address)
        yield Shop(lab, outside)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(shop: Shop):
    names = (("p1", "node-1"), ("p2", "node-2"), ("p3", "node-1"))
    return [await shop.pod(name, node) for name, node in names]


async def test_pods_are_reached_in_turn_by_weight_and_see_the_client(shop, pods):
    weights = (100, 50, 0)
    backends = [shop.backend(pod, weight=weight) for pod, weight in zip(pods, weights, strict=True)]
    web = await shop.balance("web", backends)

    async def is_healthy() -> bool:
        said = await shop.clb.health(web.id, TCP, PORT)
        return [one.status for one in said] == [HealthStatus.HEALTHY] * 3

    await eventually(is_healthy)
    answers = [await shop.ask(web.address) for _ in range(12)]

    assert Counter(name for name, _ in answers) == {"p1": 8, "p2": 4}
    assert {seen for _, seen in answers} == {FAR}
    vswitch = shop.lab.cloud.world.state.vswitches[shop.lab.ground.node_vswitch_id]
    assert web.address in vswitch.cidr


async def test_a_backend_whose_health_check_fails_gets_nothing_until_it_answers_again(shop, pods):
    silent = await shop.pod("silent", "node-2", with_health=False)
    check = replace(QUICK, kind=CheckKind.HTTP, port=HEALTH, uri="/healthz")
    backends = [shop.backend(pods[0]), shop.backend(silent)]
    web = await shop.balance("checked", backends, forwarding=Forwarding(check=check))

    async def is_known() -> bool:
        said = {one.address: one.status for one in await shop.clb.health(web.id, TCP, PORT)}
        return said == {
            backends[0].address: HealthStatus.HEALTHY,
            backends[1].address: HealthStatus.UNHEALTHY,
        }

    await eventually(is_known)
    assert {(await shop.ask(web.address))[0] for _ in range(6)} == {"p1"}


async def test_only_sources_of_the_list_are_let_in(shop, pods):
    acl = await shop.clb.create_access(name="ours", version=4)
    await shop.clb.add_entries(acl, [f"{FAR}/32"], "ours")
    access = AccessRule(acl_id=acl, is_allowed=True)
    web = await shop.balance("listed", [shop.backend(pods[0])], access=access)

    await eventually(lambda: shop.is_answered(web.address))
    assert not await shop.is_answered(web.address, source=OTHER)

    await shop.clb.add_entries(acl, [f"{OTHER}/32"], "ours")
    await eventually(lambda: shop.is_answered(web.address, source=OTHER))


async def test_a_client_stays_with_its_backend_for_as_long_as_is_said(shop, pods):
    forwarding = Forwarding(check=QUICK, persistence_s=60)
    web = await shop.balance("sticky", list(map(shop.backend, pods)), forwarding=forwarding)
    await eventually(lambda: shop.is_answered(web.address))

    assert len({(await shop.ask(web.address))[0] for _ in range(8)}) == 1


async def test_datagrams_go_to_pods_behind_an_address_of_the_internet(shop, pods):
    web = await shop.balance(
        "udp",
        [shop.backend(pods[1])],
        protocol=UDP,
        forwarding=Forwarding(check=replace(QUICK, kind=CheckKind.UDP)),
        is_internet=True,
    )
    loop = asyncio.get_running_loop()

    async def is_answered() -> bool:
        with socket_in(shop.outside.netns_path, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((FAR, 0))
            sock.connect((str(web.address), PORT))  # hears nobody else
            await loop.sock_sendall(sock, b"?")
            try:
                async with asyncio.timeout(0.5):
                    return (await loop.sock_recv(sock, 100)).decode().split() == ["p2", FAR]
            except (TimeoutError, OSError):
                return False

    await eventually(is_answered)
    assert str(web.address).startswith("198.51.100.")


async def test_pods_are_checked_and_reached_by_both_families(shop, pods):
    backends = [shop.backend(pods[0], family=family) for family in Family]
    web = await shop.balance_nlb(
        "dual", backends, forwarding=Forwarding(check=QUICK), ip_version="DualStack"
    )
    v6 = next(one for one in web.addresses if one.version == 6)

    await eventually(lambda: shop.is_answered(web.address))
    await eventually(lambda: shop.is_answered(v6, source=FAR_V6))

    assert await shop.ask(v6, source=FAR_V6) == ("p1", FAR_V6)
    assert await shop.nlb.not_healthy(web.listener) == ()


async def test_a_connection_stays_while_its_backend_drains_and_is_cut_then(shop, pods):
    forwarding = Forwarding(check=QUICK, drain_s=3)
    backends = [shop.backend(pods[0])]
    web = await shop.balance_nlb("drained", backends, forwarding=forwarding)
    await eventually(lambda: shop.is_answered(web.address))
    flow = await shop.outside.connect(web.address, port=PORT, source=FAR)

    first = await flow.line(b"?")
    await shop.nlb.remove_backends(web.group, backends)

    async def is_closed() -> bool:
        return not await shop.is_answered(web.address)

    await eventually(is_closed)
    assert await flow.line(b"?") == first  # new ones are refused, this one is not

    async def is_cut() -> bool:
        try:
            return not await flow.line(b"?")
        except ConnectionResetError:
            return True

    await eventually(is_cut)
    with suppress(ConnectionResetError):
        await flow.close()


async def test_pods_are_replaced_one_by_one_under_load_and_no_request_is_lost(shop):
    old = [await shop.pod(f"old-{number}", f"node-{number % 2 + 1}") for number in range(3)]
    forwarding = Forwarding(check=QUICK, drain_s=2)
    web = await shop.balance_nlb("rolling", list(map(shop.backend, old)), forwarding=forwarding)
    await eventually(lambda: shop.is_answered(web.address))
    replaced = asyncio.Event()
    load = asyncio.create_task(_load(shop, web.address, replaced))

    for number, pod in enumerate(old):
        new = await shop.pod(f"new-{number}", f"node-{number % 2 + 1}")
        await shop.nlb.add_backends(web.group, [shop.backend(new)])
        await eventually(lambda: _is_healthy(shop, web.listener))
        await shop.nlb.remove_backends(web.group, [shop.backend(pod)])
        await eventually(partial(_has_left, shop, web.address, pod.name))
        await shop.lab.delete_pod(pod.name)
    replaced.set()
    answers = await load

    assert {f"new-{number}" for number in range(3)} <= set(answers)
    assert sum(answers.values()) > 50


async def _is_healthy(shop: Shop, listener) -> bool:
    return not await shop.nlb.not_healthy(listener)


async def _has_left(shop: Shop, address, name: str) -> bool:
    """Whether a pod gets nothing new: in turns, the others' come twice before its own would."""
    return name not in {(await shop.ask(address))[0] for _ in range(6)}


async def _load(shop: Shop, address, until: asyncio.Event) -> Counter[str]:
    """Ask, one after the other; return how often each pod answered. A lost answer is an error."""
    answers: Counter[str] = Counter()
    while not until.is_set():
        name, seen = await shop.ask(address)
        assert seen == FAR
        answers[name] += 1
    return answers
