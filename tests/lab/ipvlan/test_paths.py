"""Who reaches whom among pods that are IPvlan children of their ENIs, and the node."""

from __future__ import annotations

import json

import pytest

from terway.lab.world.lab import Lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family
from tests.lab.ipvlan.site import HERE, MARKS, PATIENCE_S, both, eni_of, node_address

pytestmark = [*MARKS, pytest.mark.guest]

HEADERS = {Family.V4: 28, Family.V6: 48}


async def test_pods_are_children_of_their_enis(lab: Lab, pods: dict[str, PodHandle]) -> None:
    assert eni_of(lab, pods["a"]) == eni_of(lab, pods["near"]) != eni_of(lab, pods["other"])
    for pod in pods.values():
        [shown] = json.loads(await pod.exec("ip", "-j", "-d", "link", "show", "eth0"))
        assert shown["linkinfo"]["info_kind"] == "ipvlan"
        assert shown["linkinfo"]["info_data"]["mode"] == "l2"
    links = await lab.node(HERE).exec("ip", "-br", "link")
    assert links.count("ipvl_") == 2
    assert "cali" not in links


@both
@pytest.mark.parametrize("target", ["near", "other", "far"])
async def test_pods_reach_each_other_in_both_directions(
    pods: dict[str, PodHandle], target: str, family: Family
) -> None:
    for one, another in ((pods["a"], pods[target]), (pods[target], pods["a"])):
        seen = await one.tool("whoami", str(another.address(family)))

        assert seen["peer"] == str(one.address(family))


@both
@pytest.mark.parametrize("target", ["near", "other"])
async def test_pods_of_one_node_talk_without_leaving_it(
    lab: Lab, pods: dict[str, PodHandle], target: str, family: Family
) -> None:
    before = await lab.fabric.counters()

    async with await pods["a"].connect(pods[target], family=family) as flow:
        assert await flow.echo(b"x" * 200_000, timeout_s=PATIENCE_S) == b"x" * 200_000

    after = await lab.fabric.counters()
    for pod in (pods["a"], pods[target]):
        eni = eni_of(lab, pod)
        assert after[eni].ingress_bytes - before[eni].ingress_bytes < 50_000


@both
async def test_a_large_transfer_between_nodes_arrives(
    pods: dict[str, PodHandle], family: Family
) -> None:
    async with await pods["a"].connect(pods["far"], family=family) as flow:
        assert await flow.echo(b"x" * 500_000, timeout_s=PATIENCE_S) == b"x" * 500_000


@both
async def test_a_packet_that_is_too_large_for_the_other_node_is_told_so(
    pods: dict[str, PodHandle], family: Family
) -> None:
    """Bug class 32: "fragmentation needed" and "packet too big" find the pod."""
    address, payload = str(pods["a"].address(family)), str(8500 - HEADERS[family])

    await pods["far"].exec("ping", "-c2", "-W2", "-M", "do", "-s", payload, address, check=False)

    assert "mtu 1500" in await pods["far"].exec("ip", "route", "get", address)


@both
@pytest.mark.parametrize("target", ["a", "other", "far"])
async def test_the_node_reaches_pods_and_pods_the_node(
    lab: Lab, pods: dict[str, PodHandle], target: str, family: Family
) -> None:
    """Bug class 50: the kubelet's probes."""
    address, own = pods[target].address(family), node_address(lab, HERE, family)
    script = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).read())"
    host = f"[{address}]" if family is Family.V6 else str(address)

    seen = await lab.node(HERE).exec("python3", "-c", script, f"http://{host}:8080/")

    assert str(own) in seen
    await pods[target].exec("ping", "-c1", "-w20", str(own))


async def test_the_nodes_own_dns_cache_answers_pods(lab: Lab, pods: dict[str, PodHandle]) -> None:
    """Bug class 34."""
    node = lab.node(HERE)
    await node.exec("ip", "address", "add", "169.254.20.10/32", "dev", "lo")
    try:
        await pods["a"].exec("ping", "-c1", "-w20", "169.254.20.10")
    finally:
        await node.exec("ip", "address", "del", "169.254.20.10/32", "dev", "lo")


async def test_the_metadata_service_is_reached_from_pods(pods: dict[str, PodHandle]) -> None:
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=60).read().decode())"

    for name in ("a", "other"):
        assert (await pods[name].exec("python3", "-c", script)).strip().startswith("i-")


async def test_a_pod_that_goes_leaves_nothing_and_its_sibling_goes_on(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    gone = await lab.pod("gone", node=HERE, timeout_s=PATIENCE_S)
    addresses = [str(one) for one in gone.addresses]

    await lab.delete_pod("gone", timeout_s=PATIENCE_S)

    show = "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"
    shown = (await lab.node(HERE).exec("sh", "-c", show)).replace("/", " ").split()
    assert not [one for one in addresses if one in shown]
    await pods["a"].tool("whoami", str(pods["near"].addresses.v4))


async def test_connections_survive_a_restart_of_the_agent(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    async with (
        await pods["a"].connect(pods["near"]) as near,
        await pods["a"].connect(pods["other"]) as other,
        await pods["a"].connect(pods["far"]) as far,
    ):
        flows = (near, other, far)
        for flow in flows:
            assert await flow.echo(b"before", timeout_s=PATIENCE_S) == b"before"

        await lab.node(HERE).restart_agent()

        for flow in flows:
            assert await flow.echo(b"after", timeout_s=PATIENCE_S) == b"after"
    late = await lab.pod("late", node=HERE, timeout_s=PATIENCE_S)
    assert (await late.tool("whoami", str(pods["a"].addresses.v4)))["host"] == pods["a"].name
