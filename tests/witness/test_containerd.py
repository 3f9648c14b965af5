"""Debian's containerd runs containers through our plugin: `ctr run --cni`."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.lab.world.plan import POD_CIDR
from tests.witness.conftest import Site
from tests.witness.containerd import Containerd

pytestmark = pytest.mark.witness

SERVE = ("/bin/sh", "-c", "/bin/httpd -p 80 -h /www; echo up; exec /bin/sleep 1000")
NODE = "node-1"


async def test_a_container_has_the_address_of_the_vpc_that_terwayd_journalled(
    site: Site, containerd: Containerd
):
    async with containerd.container("web", *SERVE, ready="up"):
        shown = await containerd.exec("web", "/bin/ip", "addr", "show", "eth0")
        v4, v6 = await site.addresses_of(NODE, containerd.cni_id("web"))

    assert f"inet {v4}/32" in shown
    assert f"inet6 {v6}/128" in shown
    assert ip_address(v4) in POD_CIDR


async def test_a_container_and_a_pod_of_another_node_reach_each_other(
    site: Site, containerd: Containerd
):
    pod = await site.lab.pod("b", node="node-2")

    async with containerd.container("web", *SERVE, ready="up"):
        v4, v6 = await site.addresses_of(NODE, containerd.cni_id("web"))
        for own, peer in ((v4, pod.addresses.v4), (f"[{v6}]", pod.addresses.v6)):
            page = await pod.exec("busybox", "wget", "-q", "-O-", f"http://{own}/")
            assert "hello" in page
            await containerd.exec("web", "/bin/ping", "-c", "1", "-W", "10", str(peer))


async def test_the_end_of_a_container_releases_its_address_and_leaves_nothing(
    site: Site, containerd: Containerd
):
    async with containerd.container("web", *SERVE, ready="up"):
        assert containerd.cni_id("web") in await site.attachments(NODE)

    assert await site.attachments(NODE) == {}
    await site.wait_clean(NODE)


async def test_a_container_id_can_be_used_again(site: Site, containerd: Containerd):
    show = ("/bin/ip", "-4", "addr", "show", "eth0")

    shown = [await containerd.run("again", *show) for _ in range(3)]

    assert all("inet 192.168." in one for one in shown)
    assert await site.attachments(NODE) == {}
