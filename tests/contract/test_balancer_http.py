"""What the client of CLB promises of HTTP and HTTPS listeners, and the controller does with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from terway.cloud.slb import SlbClient
from terway.lab.cloud.balancer_records import HealthSeen
from terway.lab.cloud.inprocess import inprocess_slb_client
from terway.model.balancer import (
    CheckKind,
    Forwarding,
    HealthCheck,
    InstanceWish,
    Listener,
    ListenerProtocol,
    ListenerWish,
    LoadBalancerId,
    ServerGroupId,
)
from terway.model.errors import ConflictError, UsageError
from terway.model.http_listener import (
    CookieKind,
    HttpForwarding,
    StickySession,
    TlsTermination,
)
from terway.model.ids import ClientToken
from tests.support.balancer_shop import (
    INTRANET,
    PREFIX,
    RAW,
    Shop,
    open_shop,
    running,
)
from tests.support.balancer_story import certificate
from tests.support.cloud_world import CloudWorld, make_world

HTTP, HTTPS = ListenerProtocol.HTTP, ListenerProtocol.HTTPS
CHECKED = Forwarding(
    scheduler="rr",
    check=HealthCheck(
        kind=CheckKind.HTTP, uri="/ok", domain="shop", port=8081, method="get", timeout_s=9
    ),
)
UNCHECKED = Forwarding(check=HealthCheck(is_on=False, kind=CheckKind.HTTP))
TLS = TlsTermination(certificate_id="cert-1", policy="tls_cipher_policy_1_2", speaks_http2=False)
INSERTED = StickySession(kind=CookieKind.INSERT, timeout_s=60)
MARKED = StickySession(kind=CookieKind.SERVER, cookie="session")


@pytest.fixture
def world() -> CloudWorld:
    made = make_world()
    made.cloud.world.state.balancing.put(certificate("cert-1"), certificate("cert-2"))
    return made


@pytest.fixture
def clb(world: CloudWorld) -> SlbClient:
    return inprocess_slb_client(world.cloud)


async def instance(clb: SlbClient) -> tuple[LoadBalancerId, ServerGroupId]:
    wish = InstanceWish(name="web", is_internet=True)
    made = await clb.create_instance(wish, token=ClientToken("t"))
    return made, await clb.create_group(made, name="g")


@pytest.mark.parametrize(
    ("forwarding", "http"),
    [
        (CHECKED, HttpForwarding(sticky=INSERTED, idle_s=30, request_s=90, tls=TLS)),
        (
            UNCHECKED,
            HttpForwarding(
                sticky=MARKED, tells_protocol=True, tells_port=True, tells_client_port=True
            ),
        ),
    ],
)
async def test_a_listener_is_found_as_it_was_wished_and_then_changed(
    clb: SlbClient, forwarding: Forwarding, http: HttpForwarding
) -> None:
    made, group = await instance(clb)
    protocol = HTTPS if http.tls is not None else HTTP
    wish = ListenerWish(
        protocol=protocol, port=443, group_id=group, forwarding=forwarding, http=http
    )

    await clb.create_listener(made, wish)
    with pytest.raises(ConflictError):
        await clb.create_listener(made, wish)
    (found,) = await clb.list_listeners(made)
    assert (found.wish, found.is_running) == (wish, False)

    plain = replace(TLS, certificate_id="cert-2") if http.tls is not None else None
    changed = replace(wish, forwarding=UNCHECKED, http=HttpForwarding(tls=plain))
    await clb.update_listener(made, changed)
    await clb.start_listener(made, protocol, 443)
    (found,) = await clb.list_listeners(made)
    assert (found.wish, found.is_running) == (changed, True)
    await clb.delete_listener(made, protocol, 443)
    assert await clb.list_listeners(made) == ()


async def test_a_certificate_that_is_not_there_is_refused_by_its_name(clb: SlbClient) -> None:
    made, group = await instance(clb)
    none = HttpForwarding(tls=TlsTermination(certificate_id="cert-none"))
    wish = ListenerWish(protocol=HTTPS, port=443, group_id=group, forwarding=UNCHECKED, http=none)

    with pytest.raises(UsageError, match="cert-none") as caught:
        await clb.create_listener(made, wish)
    assert caught.value.code == "ServerCertificateId.NotFound"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop, running(shop):
        yield shop


async def listeners(shop: Shop) -> dict[int, Listener]:
    return {
        one.wish.port: one
        for made in await shop.slb.list_instances()
        for one in await shop.slb.list_listeners(made.id)
        if one.is_running
    }


async def test_a_gate_opens_when_the_listener_of_http_sees_the_pod_healthy(shop: Shop) -> None:
    [a] = shop.pod_addresses(1)
    said = {
        **INTRANET,
        f"{PREFIX}protocol-port": "http:80",
        f"{PREFIX}health-check-flag": "on",
    }
    await shop.make_service(annotations=said)
    await shop.make_pods(a, gated=True)

    async def is_open() -> bool:
        return await shop.gate(a) == "True"

    async def is_held() -> bool:
        return await shop.backends() == {a: 100} and await shop.gate(a) == "False"

    await shop.until(is_held)
    (made,) = await shop.slb.list_instances()
    seen = HealthSeen(healthy=frozenset({(f"{made.id}/http/80", ip_address(a), 8080)}))
    shop.cloud.cloud.world.state.balancing.health = seen
    await shop.until(is_open)


async def test_a_port_changes_its_protocol_and_what_others_made_stays(shop: Shop) -> None:
    """A listener of somebody else at the instance is left alone, whatever it is of."""
    shop.cloud.cloud.world.state.balancing.put(certificate("cert-1"))
    made, group = await instance(shop.slb)
    theirs = ListenerWish(
        protocol=HTTP, port=8080, group_id=group, forwarding=UNCHECKED, http=HttpForwarding()
    )
    await shop.slb.create_listener(made, theirs)
    ports = [{"name": str(one), "port": one, "targetPort": 8080} for one in (80, 443)]
    said = {**INTRANET, f"{PREFIX}id": made}
    await shop.make_service(annotations=said, ports=ports)

    async def is_at(wanted: dict[int, ListenerProtocol]) -> bool:
        return {port: one.wish.protocol for port, one in (await listeners(shop)).items()} == wanted

    tcp = ListenerProtocol.TCP
    await shop.until(lambda: is_at({80: tcp, 443: tcp}))
    web = {
        f"{PREFIX}protocol-port": "https:443,http:80",
        f"{PREFIX}cert-id": "cert-1",
        f"{PREFIX}forward-port": "80:443",
    }
    body = {"metadata": {"annotations": web}}
    await shop.client.patch(RAW, "web", body, namespace="default")
    await shop.until(lambda: is_at({80: HTTP, 443: HTTPS}))
    found = (await listeners(shop))[80].wish.http
    assert found is not None
    assert found.redirect_port == 443

    async def is_reached_by_way_of_it() -> bool:
        return [where["ipMode"] for where in await shop.ingress()] == ["Proxy"]

    await shop.until(is_reached_by_way_of_it)
    back = {"metadata": {"annotations": dict.fromkeys(web)}}
    await shop.client.patch(RAW, "web", back, namespace="default")
    await shop.until(lambda: is_at({80: tcp, 443: tcp}))

    await shop.client.delete(RAW, "web", namespace="default")

    async def is_gone() -> bool:
        return await shop.client.get(RAW, "web", namespace="default") is None

    await shop.until(is_gone)
    (left,) = await shop.slb.list_listeners(made)
    assert left.wish == theirs


async def test_a_port_that_leads_on_waits_for_the_one_that_it_leads_to(shop: Shop) -> None:
    """Else a certificate that nobody knows would take both ports from their clients."""
    ports = [{"name": str(one), "port": one, "targetPort": 8080} for one in (80, 443)]
    await shop.make_service(ports=ports)
    await shop.until(shop.ingress)
    web = {
        f"{PREFIX}protocol-port": "https:443,http:80",
        f"{PREFIX}cert-id": "cert-none",
        f"{PREFIX}forward-port": "80:443",
    }
    body = {"metadata": {"annotations": web}}
    await shop.client.patch(RAW, "web", body, namespace="default")

    assert "cert-none" in await shop.tells("SyncLoadBalancerFailed")
    assert (await listeners(shop))[80].wish.protocol is ListenerProtocol.TCP
