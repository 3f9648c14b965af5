"""A lab whose pods are IPvlan children of their ENIs, in a guest kernel: the whole of it.

Two ENIs on node-1 share its pods out, so that `near` is a sibling of `a` and `other` is not.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.pods import PodHandle
from terway.model.address import Family, IPAddress
from terway.model.ids import ENIId

pytestmark = [
    pytest.mark.lab,
    pytest.mark.guest,
    pytest.mark.asyncio(loop_scope="module"),
]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
_PATIENCE_S = 300.0  # one CPU without JIT, on a machine with other work
CNI = {"eniip_virtual_type": "ipvlan", "host_stack_cidrs": ["169.254.20.10/32"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=2,
        ready=False,
        cni=CNI,
        eni_conf={"min_eni": 2, "max_eni": 2, "eni_selection_policy": "least_ips"},
    ) as lab:
        await lab.wait_ready(timeout_s=_PATIENCE_S)
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    """Return pods by what they are to the pod `a`: of three on two ENIs, two share one."""
    far = await lab.pod("far", node="node-2", timeout_s=_PATIENCE_S)
    made = [await lab.pod(f"p{n}", node="node-1", timeout_s=_PATIENCE_S) for n in range(3)]
    one, two = next(
        pair for pair in itertools.combinations(made, 2) if len({eni_of(lab, p) for p in pair}) == 1
    )
    [other] = (pod for pod in made if pod not in (one, two))
    return {"a": one, "near": two, "other": other, "far": far}


def eni_of(lab: Lab, pod: PodHandle) -> ENIId:
    enis = lab.cloud.world.state.enis.values()
    return next(eni.id for eni in enis if pod.addresses.v4 in eni.ipv4)


def node_address(lab: Lab, name: str, family: Family) -> IPAddress:
    instance = lab.instances[name]
    found = instance.ipv4 if family is Family.V4 else instance.ipv6
    assert found is not None
    return found


async def test_pods_are_children_of_their_enis(lab: Lab, pods: dict[str, PodHandle]) -> None:
    assert eni_of(lab, pods["a"]) == eni_of(lab, pods["near"]) != eni_of(lab, pods["other"])
    for pod in pods.values():
        [shown] = json.loads(await pod.exec("ip", "-j", "-d", "link", "show", "eth0"))
        assert shown["linkinfo"]["info_kind"] == "ipvlan"
        assert shown["linkinfo"]["info_data"]["mode"] == "l2"
    links = await lab.node("node-1").exec("ip", "-br", "link")
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
        assert await flow.echo(b"x" * 200_000) == b"x" * 200_000

    after = await lab.fabric.counters()
    for pod in (pods["a"], pods[target]):
        eni = eni_of(lab, pod)
        assert after[eni].ingress_bytes - before[eni].ingress_bytes < 50_000


@both
async def test_a_large_transfer_between_nodes_arrives(
    pods: dict[str, PodHandle], family: Family
) -> None:
    async with await pods["a"].connect(pods["far"], family=family) as flow:
        assert await flow.echo(b"x" * 500_000) == b"x" * 500_000


@both
@pytest.mark.parametrize("target", ["a", "other", "far"])
async def test_the_node_reaches_pods_and_pods_the_node(
    lab: Lab, pods: dict[str, PodHandle], target: str, family: Family
) -> None:
    """Bug class 50: the kubelet's probes."""
    address, own = pods[target].address(family), node_address(lab, "node-1", family)
    script = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read())"
    host = f"[{address}]" if family is Family.V6 else str(address)

    seen = await lab.node("node-1").exec("python3", "-c", script, f"http://{host}:8080/")

    assert str(own) in seen
    await pods[target].exec("ping", "-c1", "-W2", str(own))


async def test_the_nodes_own_dns_cache_answers_pods(lab: Lab, pods: dict[str, PodHandle]) -> None:
    """Bug class 34."""
    node = lab.node("node-1")
    await node.exec("ip", "address", "add", "169.254.20.10/32", "dev", "lo")
    try:
        await pods["a"].exec("ping", "-c1", "-W2", "169.254.20.10")
    finally:
        await node.exec("ip", "address", "del", "169.254.20.10/32", "dev", "lo")


async def test_the_metadata_service_is_reached_from_pods(pods: dict[str, PodHandle]) -> None:
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=5).read().decode())"

    for name in ("a", "other"):
        assert (await pods[name].exec("python3", "-c", script)).strip().startswith("i-")


async def test_a_pod_that_goes_leaves_nothing_and_its_sibling_goes_on(
    lab: Lab, pods: dict[str, PodHandle]
) -> None:
    gone = await lab.pod("gone", node="node-1")
    addresses = [str(one) for one in gone.addresses]

    await lab.delete_pod("gone")

    show = "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"
    shown = await lab.node("node-1").exec("sh", "-c", show)
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
            assert await flow.echo(b"before") == b"before"

        await lab.node("node-1").restart_agent()

        for flow in flows:
            assert await flow.echo(b"after") == b"after"
    late = await lab.pod("late", node="node-1")
    assert (await late.tool("whoami", str(pods["a"].addresses.v4)))["host"] == pods["a"].name
