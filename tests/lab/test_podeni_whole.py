"""From the pod's annotation to its packets: the control plane binds, the node makes, both undo."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from terway.kube.crds import POD_ENIS
from terway.kube.resource import NODES, PODS
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle, pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

POOL = NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS)
WITH_ENI = {"k8s.aliyun.com/pod-eni": "true"}
ASKED = "k8s.aliyun.com/pod-networks"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(POOL,),
        control_plane=True,
        eni_conf={"enable_eni_trunking": True},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ordinary(lab: Lab) -> PodHandle:
    return await lab.pod("ordinary", node="node-1")


async def create(
    lab: Lab, name: str, node: str, annotations: Mapping[str, str] = WITH_ENI
) -> PodHandle:
    manifest = pod_manifest(name, namespace="default", node=node, annotations=dict(annotations))
    await lab.kube.create(PODS, manifest, namespace="default")
    return await lab.wait_pod(name)


@pytest.mark.parametrize(
    ("node", "kind"), [("node-1", "Member"), ("eni-1", "Secondary")], ids=["trunk", "whole"]
)
async def test_a_pod_has_an_eni_of_its_own_and_gives_it_back(lab, ordinary, node, kind):
    name = f"own-{node}"
    pod = await create(lab, name, node)

    for family in Family:
        seen = await ordinary.tool("whoami", str(pod.address(family)))
        assert seen["peer"] == str(ordinary.address(family))
    found = await lab.kube.get(POD_ENIS, name, namespace="default")
    assert found is not None
    assert [one.type for one in found.status.eni_infos.values()] == [kind]

    await lab.delete_pod(name)

    async with asyncio.timeout(PATIENCE_S):
        while await lab.kube.get(POD_ENIS, name, namespace="default") is not None:
            await lab.node(node).exec("true")
    assert not found.status.eni_infos.keys() & lab.cloud.world.state.enis.keys()


def wanting(kind: str) -> dict[str, str]:
    one = {"interface": "eth0", "eniOptions": {"eniType": kind}}
    return {ASKED: json.dumps({"podNetworks": [one]})}


async def test_a_node_gives_a_whole_eni_beside_members_and_shared_addresses(lab, ordinary):
    """The pool keeps its ENIs, and the scheduler knows how many of the others are left."""
    node = await lab.kube.get(NODES, "node-1")
    assert node is not None
    assert int(node.status.allocatable["aliyun/eni"]) > 0
    pods = {
        kind: await create(lab, f"kind-{kind.lower()}", "node-1", wanting(kind))
        for kind in ("ENI", "Trunk")
    }
    kinds = {}
    for kind, pod in pods.items():
        found = await lab.kube.get(POD_ENIS, pod.name, namespace="default")
        assert found is not None
        kinds[kind] = [one.type for one in found.status.eni_infos.values()]
        container = (await lab.kube.get(PODS, pod.name, namespace="default")).spec.containers[0]
        resource = "aliyun/eni" if kind == "ENI" else "aliyun/member-eni"
        assert container.resources.limits[resource] == "1"

    assert kinds == {"ENI": ["Secondary"], "Trunk": ["Member"]}
    for one, other in itertools.permutations((ordinary, *pods.values()), 2):
        for family in Family:
            seen = await one.tool("whoami", str(other.address(family)))
            assert seen["peer"] == str(one.address(family))
