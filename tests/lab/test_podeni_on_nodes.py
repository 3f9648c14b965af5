"""Pods that PodENIs say the interfaces of, on whole nodes: members of a trunk, and whole ENIs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.toolbox import HTTP_PORT
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from terway.model.errors import UsageError
from tests.lab.test_cli import run, why
from tests.lab.test_limits import EGRESS, INGRESS, held_bytes_s
from tests.support.iproute import ip_in
from tests.support.podeni_lab import PodENILab, podeni_lab

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
_MBIT = 125_000  # bytes per second
OWN = ("member", "whole", "beside")
NODE_OF = {"member": "node-1", "whole": "eni-1", "beside": "node-2"}
POOL = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["veth", "datapathv2"], ids=str)
async def made(request) -> AsyncIterator[PodENILab]:
    cni = {"eniip_virtual_type": request.param}
    async with podeni_lab(nodes=2, pools=(POOL,), cni=cni) as made:
        await made.add_trunk("node-1")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(made: PodENILab) -> dict[str, PodHandle]:
    member, whole, beside = [await made.bind(one) for one in ("node-1", "eni-1", "node-2")]
    found = await asyncio.gather(
        made.pod("member", "node-1", [member]),
        made.pod("whole", "eni-1", [whole]),
        made.pod("beside", "node-2", [beside]),  # a whole ENI, where pods share theirs
        made.lab.pod("near", node="node-1"),
        made.lab.pod("far", node="node-2"),
    )
    return {one.name: one for one in found}


@both
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("other", ["near", "far"])
async def test_pods_of_podenis_and_ordinary_ones_reach_each_other(pods, name, other, family):
    for one, to in ((pods[name], pods[other]), (pods[other], pods[name])):
        seen = await one.tool("whoami", str(to.address(family)))

        assert seen["peer"] == str(one.address(family))


async def test_the_pool_has_nothing_of_what_podenis_give(made, pods):
    mine = {str(pods[name].address(family)) for name in OWN for family in Family}

    for node in ("node-1", "eni-1"):
        shown = (await run(made.lab, "show", node=node)).output
        assert not any(f"{one} free" in shown for one in mine)
    for eni in await made.client.describe_enis(instance_id=made.lab.instances["eni-1"].id):
        assert eni.status.value == "InUse"


async def test_why_says_the_tag_and_doctor_finds_nothing(made, pods):
    hops = await why(made.lab, "member", "far", "--family", "4")

    assert any(hop["what"] == "tag" and "VLAN id 1" in hop["text"] for hop in hops)
    assert [hop for hop in hops if hop["state"] == "FAIL"] == []
    for node in ("node-1", "node-2", "eni-1"):
        answer = await run(made.lab, "doctor", node=node)
        assert answer.code == 0, answer.output
        mapping = await run(made.lab, "mapping", node=node)
        assert mapping.code == 0, mapping.output


@both
async def test_policies_hold_for_members_and_whole_enis(made, pods, family):
    name = f"only-near-{family.value}"
    policy = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "podSelector": {
                "matchExpressions": [{"key": "app", "operator": "In", "values": list(OWN)}]
            },
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "near"}}}]}],
        },
    }
    await made.lab.kube.create(NETWORK_POLICIES, policy, namespace="default")
    try:
        for target in OWN:
            async with asyncio.timeout(PATIENCE_S):
                while await pods["far"].can_reach(pods[target], family=family, timeout_s=2.0):
                    pass
            assert await pods["near"].can_reach(pods[target], family=family)
    finally:
        await made.lab.kube.delete(NETWORK_POLICIES, name, namespace="default")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("backend", ["near", "far"])
async def test_services_of_the_cluster_are_reached(made, pods, name, backend):
    """By programs in eBPF, or as kube-proxy has the node translate them."""
    service = f"{name}-{backend}"
    spec = {
        "selector": {"app": backend},
        "ports": [{"port": HTTP_PORT, "targetPort": HTTP_PORT}],
        "ipFamilyPolicy": "RequireDualStack",
    }
    manifest = {"metadata": {"name": service}, "spec": spec}
    found = await made.lab.kube.create(SERVICES, manifest, namespace="default")
    await wait_endpoints(made.lab.kube, service, lambda held: len(held) == 2)
    node = made.lab.node(NODE_OF[name])

    for address in map(ip_address, found["spec"]["clusterIPs"]):
        target = pods[backend].address(Family(address.version))
        if made.lab.plan.cni["eniip_virtual_type"] == "veth":
            await node.exec("nft", _translating(address, target))
        async with asyncio.timeout(PATIENCE_S):
            while (seen := await _asked(pods[name], address)) is None:
                pass
        assert seen["own"] == str(target)


def _translating(service: IPAddress, target: IPAddress) -> str:
    word, host = ("ip", target) if service.version == 4 else ("ip6", f"[{target}]")
    rule = f"{word} daddr {service} tcp dport {HTTP_PORT} dnat {word} to {host}:{HTTP_PORT}"
    chain = f"{{\ntype nat hook prerouting priority -100\n{rule}\n}}"
    name = f"test_proxy_{service.packed.hex()}"
    return f"table inet {name} {{\nchain prerouting {chain}\n}}"


async def _asked(pod: PodHandle, address: IPAddress) -> dict[str, Any] | None:
    """Return what a service says; None where its node has not heard of it."""
    try:
        return await pod.tool("whoami", str(address))
    except UsageError:
        return None


@pytest.mark.parametrize("name", OWN)
async def test_the_metadata_service_is_reached(made, pods, name):
    url = "http://100.100.100.200/latest/meta-data/instance-id"
    script = f"import urllib.request as u; print(u.urlopen('{url}', timeout=60).read())"

    answer = await pods[name].exec("python3", "-c", script)

    assert made.lab.instances[NODE_OF[name]].id in answer


@both
@pytest.mark.parametrize("name", OWN)
async def test_a_pod_with_an_eni_of_its_own_and_its_node_reach_each_other(made, pods, name, family):
    node = made.lab.instances[NODE_OF[name]]
    own = node.ipv4 if family is Family.V4 else node.ipv6

    await pods[name].exec("ping", "-c1", "-w20", str(own))
    await made.lab.node(NODE_OF[name]).exec("ping", "-c1", "-w20", str(pods[name].address(family)))


async def test_a_restart_is_not_seen_by_a_connection_of_a_member(made, pods):
    for name, node in (("member", "node-1"), ("beside", "node-2"), ("whole", "eni-1")):
        async with await pods["far"].connect(pods[name]) as flow:
            await made.lab.node(node).restart_agent()
            assert await flow.echo(b"still there") == b"still there"


async def test_a_member_is_gone_with_its_pod_and_stays_attached(made):
    eni = await made.bind("node-1")
    pod = await made.pod("brief", "node-1", [eni])
    address = pod.address(Family.V4)

    await made.lab.delete_pod("brief")

    node = made.lab.node("node-1")
    async with asyncio.timeout(PATIENCE_S):
        while str(address) in json.dumps(await ip_in(node, "route")):
            await node.exec("true")
    (found,) = await made.client.describe_enis(eni_ids=[eni.id])
    assert found.status.value == "InUse"


async def test_several_members_are_several_interfaces(made, pods):
    enis = [await made.bind("node-1") for _ in range(2)]
    pod = await made.pod("several", "node-1", enis)

    names: list[dict[str, Any]] = await ip_in(pod, "link")
    assert {"eth0", "eth1"} <= {one["ifname"] for one in names}
    for eni in enis:
        said = await pods["far"].tool("whoami", str(eni.primary_ipv4))
        assert said["peer"] == str(pods["far"].address(Family.V4))


@pytest.mark.parametrize("kind", [EGRESS, INGRESS], ids=["egress", "ingress"])
@pytest.mark.parametrize("node", ["node-1", "eni-1"], ids=["member", "whole"])
async def test_a_limit_holds_in_both_directions(made, pods, node, kind):
    name = f"held-{node}-{kind.rpartition('/')[2].partition('-')[0]}"
    eni = await made.bind(node)
    pod = await made.pod(name, node, [eni], annotations={kind: "16M"})

    async with await pod.connect(pods["far"]) as flow:
        await flow.echo(bytes(200_000))  # what the bucket has
        found = await held_bytes_s(flow, limit=16 * _MBIT)

    assert found == pytest.approx(16 * _MBIT, rel=0.1)
