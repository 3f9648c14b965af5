"""Which servers of HTTP and HTTPS are open, and which certificate they show."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from terway.lab.balancer.checking import Asker
from terway.lab.balancer.http_run import HttpProxies
from terway.lab.cloud.balancer_records import HealthCheckRecord, HealthSeen
from terway.lab.cloud.balancer_view import ForwardingListener
from terway.lab.cloud.http_records import CertificateRecord, HttpListenerRecord
from terway.lab.cloud.http_view import RequestHandling
from terway.lab.kubeapi.tls import ServerIdentity
from terway.lab.world.waiting import PATIENCE_S
from terway.model.ids import VpcId
from tests.support.balancer_story import certificate
from tests.support.web_client import identity_of, trusting

pytestmark = pytest.mark.root  # it enters its own namespace by name

HERE, HOST = IPv4Address("127.0.0.1"), "shop.example.com"
ASKER = Asker(netns_path="/proc/self/ns/net", sources=(HERE,))
WITH_1_3 = "tls_cipher_policy_1_2_strict_with_1_3"


def record(identity: ServerIdentity) -> CertificateRecord:
    return replace(
        certificate("cert-1"), certificate_pem=identity.cert_pem, key_pem=identity.key_pem
    )


def listener(identity: ServerIdentity, **http: Any) -> ForwardingListener:
    return ForwardingListener(
        id="lb-1/https/443",
        vpc_id=VpcId("vpc-1"),
        address=HERE,
        protocol=6,
        port=443,
        scheduler="wrr",
        check=HealthCheckRecord(is_on=False),
        servers=(),
        requests=RequestHandling(
            balancer_id="lb-1", http=HttpListenerRecord(**http), certificate=record(identity)
        ),
    )


async def version(identity: ServerIdentity) -> str | None:
    """Return what TLS is spoken with who has this certificate. Raises OSError for another."""
    _, writer = await asyncio.open_connection(
        str(HERE), 443, ssl=trusting(identity), server_hostname=HOST
    )
    try:
        spoken: str | None = writer.get_extra_info("ssl_object").version()
        return spoken
    finally:
        writer.close()
        await writer.wait_closed()


async def test_who_comes_next_meets_the_certificate_of_now_and_nobody_a_listener_that_is_gone():
    first, second = identity_of(HOST), identity_of(HOST)
    proxies = HttpProxies(ASKER)
    try:
        assert await proxies.follow([listener(first)], HealthSeen())
        assert await version(first) == "TLSv1.2"

        assert await proxies.follow([listener(second, tls_policy=WITH_1_3)], HealthSeen())
        assert await version(second) == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError):
            await version(first)

        assert await proxies.follow([], HealthSeen())
        with pytest.raises(ConnectionRefusedError):
            await version(second)
    finally:
        await proxies.close()


async def test_who_does_not_listen_keeps_a_listener_that_goes_from_nobody():
    """Else one client could keep all load balancers of the lab as they are."""
    identity = identity_of(HOST)
    proxies = HttpProxies(ASKER)
    assert await proxies.follow([listener(identity)], HealthSeen())
    _, writer = await asyncio.open_connection(
        str(HERE), 443, ssl=trusting(identity), server_hostname=HOST
    )
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()

    async with asyncio.timeout(PATIENCE_S):
        await proxies.close()
    transport.abort()


async def test_a_pair_that_openssl_does_not_take_keeps_the_one_before():
    """Else one certificate could end the lab."""
    good = identity_of(HOST)
    bad = replace(good, key_pem=identity_of(HOST).key_pem)
    proxies = HttpProxies(ASKER)
    try:
        assert not await proxies.follow([listener(bad)], HealthSeen())
        assert await proxies.follow([listener(good)], HealthSeen())
        assert await proxies.follow([listener(bad)], HealthSeen())
        assert await version(good) == "TLSv1.2"
    finally:
        await proxies.close()


async def test_an_address_that_is_not_there_yet_is_waited_for():
    away = replace(listener(identity_of(HOST)), address=IPv4Address("198.51.100.1"))
    proxies = HttpProxies(ASKER)

    assert not await proxies.follow([away], HealthSeen())
    await proxies.close()
