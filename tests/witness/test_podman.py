"""Debian's podman, with its CNI backend, runs containers through our plugin."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.lab.world.plan import POD_CIDR
from tests.witness.conftest import NETWORK, Site
from tests.witness.podman import Podman, open_podman

pytestmark = pytest.mark.witness

SERVE = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")
LISTENS = ("/bin/sh", "-c", "until netstat -ltn | grep -q ':80 '; do :; done")
NODE = "node-1"


async def test_a_container_has_the_address_of_the_vpc_that_terwayd_journalled(
    site: Site, podman: Podman
):
    async with podman.container("web", *SERVE, network=NETWORK) as container_id:
        shown = await podman.exec("web", "/bin/ip", "addr", "show", "eth0")
        v4, v6 = await site.addresses_of(NODE, container_id)

    assert f"inet {v4}/32" in shown
    assert f"inet6 {v6}/128" in shown
    assert ip_address(v4) in POD_CIDR


async def test_containers_on_two_nodes_reach_each_other(site: Site, podman: Podman):
    there = open_podman(site.place("node-2"), cgroup=f"{site.name}-2", rootfs=site.rootfs)

    async with (
        there as second,
        podman.container("web", *SERVE, network=NETWORK) as web_id,
        second.container("ask", "/bin/sleep", "1000", network=NETWORK),
    ):
        v4, v6 = await site.addresses_of(NODE, web_id)
        await podman.exec("web", *LISTENS)
        for host in (v4, f"[{v6}]"):
            page = await second.exec("ask", "/bin/wget", "-q", "-O-", f"http://{host}/")
            assert "hello" in page


async def test_a_restarted_container_has_one_address_and_reaches_out(site: Site, podman: Podman):
    pod = await site.lab.pod("b", node="node-2")

    async with podman.container("web", *SERVE, network=NETWORK) as container_id:
        await podman.restart("web")

        assert container_id in await site.attachments(NODE)
        v4, _ = await site.addresses_of(NODE, container_id)
        assert f"inet {v4}/32" in await podman.exec("web", "/bin/ip", "addr", "show", "eth0")
        await podman.exec("web", "/bin/ping", "-c", "1", "-W", "10", str(pod.addresses.v4))


async def test_a_removed_container_leaves_nothing(site: Site, podman: Podman):
    async with podman.container("web", *SERVE, network=NETWORK) as container_id:
        assert container_id in await site.attachments(NODE)

    assert await site.attachments(NODE) == {}
    await site.wait_clean(NODE)
