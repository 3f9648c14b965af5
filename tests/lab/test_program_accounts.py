"""terwayd is the service account of its installation; the kubelet heeds what others say of pods."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.client import PatchType
from terway.kube.resource import PODS, ObjectKey
from terway.lab.kubeapi.manifests import apply_manifests
from terway.lab.world.cluster import wait_nodes_ready
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.waiting import PATIENCE_S, Objects, wait_until
from terway.model.address import Family

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

RAW = PODS.typed(dict)
NODE = "node-2"  # which comes after the installation
TERWAYD = "system:serviceaccount:kube-system:terway"
INSTALLATION = """\
apiVersion: v1
kind: ServiceAccount
metadata: {name: terway, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: terway}
rules:
- {apiGroups: ["*"], resources: ["*"], verbs: [create, get, list, patch, update, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: terway}
roleRef: {kind: ClusterRole, name: terway}
subjects: [{kind: ServiceAccount, name: terway, namespace: kube-system}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(name=f"a{uuid.uuid4().hex[:8]}", nodes=1) as lab:
        assert lab.services.cluster is not None
        apply_manifests(lab.services.cluster, INSTALLATION)
        await lab.add_node(NODE)
        node = lab.node(NODE)
        await wait_nodes_ready(lab.kube, [node], timeout_s=PATIENCE_S, progress=print)
        yield lab


async def user_of_terwayd(lab: Lab, node: str) -> str:
    path = lab.node(node).inside("/etc/kubernetes/terway.conf")
    return str(json.loads(path.read_text())["users"][0]["name"])


async def test_terwayd_is_its_account_where_there_is_one(lab: Lab) -> None:
    pod = await lab.pod("of-the-account", node=NODE)

    assert pod.addresses.of(Family.V4)
    assert await user_of_terwayd(lab, NODE) == "terway"
    assert await user_of_terwayd(lab, "node-1") == "admin"
    assert lab.services.cluster is not None
    audit = lab.services.cluster.authorizer.audit
    assert audit.allowed(TERWAYD)["watch", "", "pods"]
    assert not audit.refused(TERWAYD)


async def seen(lab: Lab, name: str, **wanted: str) -> None:
    """Wait until the pod has these conditions."""
    key = ObjectKey(namespace="default", name=name)

    def trouble(pods: Objects[dict[str, Any]]) -> str:
        held = pods.get(key, {}).get("status", {}).get("conditions", ())
        found = {one["type"]: one["status"] for one in held}
        return "" if wanted.items() <= found.items() else f"{key} has {found}"

    await wait_until(lab.kube, RAW, trouble, timeout_s=PATIENCE_S, namespace="default")


async def say(lab: Lab, name: str, status: str) -> None:
    patch = {"status": {"conditions": [{"type": "lb", "status": status}]}}
    await lab.kube.patch(
        RAW,
        name,
        patch,
        namespace="default",
        kind=PatchType.STRATEGIC,
        subresource="status",
    )


async def test_a_real_pod_is_ready_only_while_its_gate_is_open(lab: Lab) -> None:
    container = {"name": "c", "image": "busybox", "command": ["/bin/sleep", "1000"]}
    spec = {
        "nodeName": NODE,
        "readinessGates": [{"conditionType": "lb"}],
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
    }
    body = {"metadata": {"name": "gated"}, "spec": spec}
    await lab.kube.create(RAW, body, namespace="default")

    await seen(lab, "gated", ContainersReady="True", Ready="False")
    await say(lab, "gated", "True")
    await seen(lab, "gated", lb="True", Ready="True")
    await say(lab, "gated", "False")
    await seen(lab, "gated", lb="False", Ready="False", ContainersReady="True")
