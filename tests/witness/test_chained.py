"""Debian's portmap and tuning do their work when chained after our plugin; limits are its own.

Debian's `portmap` 1.1.1 has a CHECK that looks for IPv4 rules in the IPv6 table and the other way
round, so it fails after any plugin (containernetworking/plugins, portmap.go, checkPorts): it is
left out of CHECK here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from terway.datapath.fights import PATIENCE
from tests.support.place import CommandError, Place
from tests.witness.chain import ChainedAttachment
from tests.witness.conftest import Site
from tests.witness.containerd import Containerd

pytestmark = pytest.mark.witness

NODE = "node-1"
PORTMAP: dict[str, object] = {"type": "portmap", "capabilities": {"portMappings": True}}
RATE_BPS = 16_000_000
ENOUGH_BPS = 0.85 * RATE_BPS  # what TCP carries: headers are some 5 % of a frame
LIMITS = {
    "ingressRate": RATE_BPS,
    "ingressBurst": 2**31 - 1,  # as containerd and CRI-O write it
    "egressRate": RATE_BPS,
    "egressBurst": 2**31 - 1,
}
MAC = "02:11:22:33:44:55"
TUNING: dict[str, object] = {"type": "tuning", "mac": MAC, "sysctl": {"net.core.somaxconn": "321"}}


@asynccontextmanager
async def attached(
    site: Site, name: str, *plugins: dict[str, object], node: str = NODE, **runtime: object
) -> AsyncIterator[ChainedAttachment]:
    """Attach a network namespace of the node's for the block; DEL is done on leaving."""
    place = site.place(node)
    await place.run("ip", "netns", "add", name)
    one = ChainedAttachment(
        node=place,
        conflist=await site.configure(node, *plugins),
        container_id=f"{site.name}-{name}",
        netns=f"/run/netns/{name}",
        runtime=runtime,
    )
    await one.add()
    try:
        yield one
    finally:
        await one.delete()


def inside(one: ChainedAttachment) -> Place:
    return one.node.in_netns(one.netns)


def address(one: ChainedAttachment) -> str:
    assert one.result is not None
    return str(one.result["ips"][0]["address"]).partition("/")[0]


def server(one: ChainedAttachment, site: Site):
    words = ("/bin/busybox", "httpd", "-f", "-v", "-p", "80", "-h", str(site.rootfs / "www"))
    listens = "grep -qs ':0050 [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6"
    told = f"(until {listens}; do sleep 0.02; done; echo up) &"
    return inside(one).server("sh", "-c", f"{told} exec {' '.join(words)}", ready="up")


async def fetch(place: Place, url: str) -> str:
    return await place.run("timeout", "20", "busybox", "wget", "-q", "-O-", url)


async def test_portmap_leads_a_port_of_the_node_to_the_container_until_del(site: Site):
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    own = site.lab.node(NODE).spec.addresses[0].partition("/")[0]
    url = f"http://{own}:8080/"

    async with (
        attached(site, "web", PORTMAP, portMappings=[mapping]) as web,
        attached(site, "ask") as ask,
        server(web, site),
    ):
        assert "hello" in await fetch(inside(ask), url)
        assert "hello" in await fetch(site.place(NODE), url)
        assert "hello" in await fetch(inside(ask), f"http://{address(web)}/")

    rules = await site.place(NODE).run("iptables-save", "-t", "nat")
    assert "8080" not in rules
    await site.wait_clean(NODE)


async def test_limits_that_the_runtime_asks_for_hold_both_directions(site: Site):
    async with (
        attached(site, "slow", bandwidth=LIMITS) as slow,
        attached(site, "peer", node="node-2") as peer,
    ):
        await slow.check()
        to_peer = await held_bps(slow, peer)
        from_peer = await held_bps(peer, slow)

    assert ENOUGH_BPS < to_peer < 1.1 * RATE_BPS
    assert ENOUGH_BPS < from_peer < 1.1 * RATE_BPS
    await site.wait_clean(NODE)


async def held_bps(sender: ChainedAttachment, receiver: ChainedAttachment) -> float:
    """Measure again what is less than enough: a busy machine makes traffic slower, never faster."""
    found = 0.0
    for _ in range(5):
        found = await throughput_bps(sender, receiver)
        if found > ENOUGH_BPS:
            break
    return found


async def throughput_bps(sender: ChainedAttachment, receiver: ChainedAttachment) -> float:
    listen = ("iperf3", "--server", "--one-off", "--forceflush")
    async with inside(receiver).server(*listen, ready="listening"):
        text = await inside(sender).run("iperf3", "-c", address(receiver), "-t", "3", "-J")
    return float(json.loads(text)["end"]["sum_received"]["bits_per_second"])


async def test_tuning_changes_mac_and_sysctl_and_our_check_still_passes(site: Site):
    async with attached(site, "tuned", TUNING) as tuned, attached(site, "peer") as peer:
        await tuned.check()

        assert MAC in await inside(tuned).run("ip", "link", "show", "eth0")
        assert "= 321" in await inside(tuned).run("sysctl", "net.core.somaxconn")
        await inside(tuned).run("ping", "-c", "1", "-W", "10", address(peer))
        await inside(peer).run("ping", "-c", "1", "-W", "10", address(tuned))

    await site.wait_clean(NODE)


async def lose_rule_for_good(pod: ChainedAttachment) -> None:
    """Delete the rule to a pod until terwayd leaves it so for a while: then it is fought over."""
    rule = ("to", address(pod))
    for _mended in range(PATIENCE):
        await pod.node.run("ip", "rule", "del", *rule)
        async with asyncio.timeout(30):
            while not await pod.node.run("ip", "rule", "show", *rule):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)
    await pod.node.run("ip", "rule", "del", *rule)


async def test_check_through_the_chain_fails_when_our_rule_is_missing(site: Site):
    async with attached(site, "pod", TUNING) as pod:
        await pod.check()
        await lose_rule_for_good(pod)

        with pytest.raises(CommandError, match=f"{address(pod)}"):
            await pod.check()


async def test_containerd_runs_the_whole_chain(site: Site, containerd: Containerd):
    await site.configure(NODE, TUNING, PORTMAP)

    async with containerd.container("tuned", "/bin/sh", "-c", "echo up; sleep 1000", ready="up"):
        shown = await containerd.exec("tuned", "/bin/ip", "link", "show", "eth0")
        tuned = await containerd.exec("tuned", "/bin/cat", "/proc/sys/net/core/somaxconn")

    assert MAC in shown
    assert tuned.strip() == "321"
    assert await site.attachments(NODE) == {}
    await site.wait_clean(NODE)
