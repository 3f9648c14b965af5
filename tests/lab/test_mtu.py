"""Nodes with large frames beside nodes without: what fits passes, what does not is told."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.pods import PodHandle
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", [Family.V4, Family.V6], ids=["ipv4", "ipv6"])
HEADERS = {Family.V4: 28, Family.V6: 48}
JUMBO = NodePool(name="jumbo", nodes=2, instance_type="ecs.g7.2xlarge", jumbo_frames=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["veth", "datapathv2"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    name, cni = f"u{uuid.uuid4().hex[:8]}", {"eniip_virtual_type": request.param}
    async with open_lab(name=name, nodes=1, pools=(JUMBO,), cni=cni) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"large": "jumbo-1", "other": "jumbo-2", "small": "node-1"}
    return {name: await lab.pod(name, node=node) for name, node in places.items()}


async def ping(pod: PodHandle, target: PodHandle, family: Family, size: int) -> str:
    """Send packets of `size` bytes that must not be split."""
    payload = str(size - HEADERS[family])
    address = str(target.address(family))
    return await pod.exec("ping", "-c2", "-W10", "-M", "do", "-s", payload, address, check=False)


async def mtu(pod: PodHandle) -> str:
    return (await pod.exec("cat", "/sys/class/net/eth0/mtu")).strip()


async def test_a_pod_has_the_mtu_of_its_node(pods: dict[str, PodHandle]) -> None:
    """Bug class 32."""
    assert [await mtu(pods[name]) for name in ("large", "other", "small")] == [
        "8500",
        "8500",
        "1500",
    ]


@both
async def test_large_packets_pass_between_large_nodes(
    pods: dict[str, PodHandle], family: Family
) -> None:
    assert " 0% packet loss" in await ping(pods["large"], pods["other"], family, 8500)


@both
async def test_a_packet_that_is_too_large_for_the_other_node_is_told_so(
    pods: dict[str, PodHandle], family: Family
) -> None:
    """Bug class 32: "fragmentation needed" and "packet too big" find the pod."""
    await ping(pods["large"], pods["small"], family, 8500)

    address = str(pods["small"].address(family))
    assert "mtu 1500" in await pods["large"].exec("ip", "route", "get", address)
    assert " 0% packet loss" in await ping(pods["large"], pods["small"], family, 1500)


@both
async def test_a_connection_carries_data_both_ways_across_the_mix(
    pods: dict[str, PodHandle], family: Family
) -> None:
    for one, other in (("large", "small"), ("small", "large")):
        async with await pods[one].connect(pods[other], family=family) as flow:
            assert await flow.echo(b"x" * 500_000) == b"x" * 500_000


async def test_a_changed_mtu_of_the_node_is_that_of_new_pods(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    node = lab.node("jumbo-2")
    await node.exec("ip", "link", "set", "eth0", "mtu", "4000")
    is_there = "grep -qx 4000 /sys/class/net/eth1/mtu"
    script = f"for i in $(seq 1200); do {is_there} && exit 0; sleep 0.1; done; exit 1"
    await node.exec("sh", "-c", script)

    new = await lab.pod("new", node="jumbo-2")

    assert (await mtu(new), await mtu(pods["other"])) == ("4000", "8500")
    for family in (Family.V4, Family.V6):
        async with await pods["other"].connect(new, family=family) as flow:
            assert await flow.echo(b"x" * 500_000) == b"x" * 500_000
        await ping(pods["other"], new, family, 8500)
        assert "mtu 4000" in await pods["other"].exec(
            "ip", "route", "get", str(new.address(family))
        )


async def test_what_is_larger_than_the_pods_own_link_is_refused_there(
    pods: dict[str, PodHandle],
) -> None:
    assert "too long" in (await ping(pods["small"], pods["large"], Family.V4, 1501)).lower()


@both
async def test_a_link_that_says_more_than_the_vpc_carries_is_found_out(
    lab: Lab, family: Family
) -> None:
    node = lab.node("node-1")
    await node.exec("ip", "link", "set", "eth0", "mtu", "8500")
    probe = (
        "from terway.linux.path_mtu import read_path_mtu; from terway.model.address import Family"
    )
    script = f"{probe}; print(read_path_mtu(Family({family.value})))"

    assert await node.exec(sys.executable, "-c", script) == "1500\n"
    await node.exec("ip", "link", "set", "eth0", "mtu", "1500")
