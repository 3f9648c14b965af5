"""kubectl and the official Python client roll StatefulSets out, and see what gates hold back."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.kubectl import Kubectl
from tests.support.live_cluster import open_live_cluster

pytestmark = pytest.mark.witness

STATEFUL_SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: c, image: busybox}]
"""
GATED = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  schedulingGates: [{name: k8s.aliyun.com/eni}]
  readinessGates: [{conditionType: lb}]
  containers: [{name: c, image: busybox}]
"""


@pytest.fixture
async def kubectl(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield Kubectl(tmp_path, server.kubeconfig)


async def rolled_out(kubectl: Kubectl) -> str:
    return await kubectl("rollout", "status", "statefulset/db", "--timeout=30s")


async def test_a_stateful_set_is_rolled_out_changed_and_taken_back(kubectl):
    await kubectl.apply(STATEFUL_SET)
    assert "roll out complete: 3 new pods have been updated" in await rolled_out(kubectl)
    await kubectl("set", "image", "statefulset/db", "c=new")
    await rolled_out(kubectl)

    history = await kubectl("rollout", "history", "statefulset/db")
    await kubectl("rollout", "undo", "statefulset/db")
    await rolled_out(kubectl)

    path = "jsonpath={.items[*].spec.containers[0].image}"
    assert await kubectl("get", "pods", "-o", path) == "busybox busybox busybox"
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]


async def test_a_stateful_set_is_scaled_and_shown(kubectl):
    await kubectl.apply(STATEFUL_SET)
    await rolled_out(kubectl)

    await kubectl("scale", "statefulset/db", "--replicas=1")
    await kubectl("wait", "--for=delete", "pod/db-1", "pod/db-2", "--timeout=30s")

    assert (await kubectl("get", "statefulset", "db")).split()[3:5] == ["db", "1/1"]
    assert await kubectl("get", "pods", "-o", "name") == "pod/db-0\n"


async def test_a_restart_replaces_every_pod(kubectl):
    await kubectl.apply(STATEFUL_SET)
    await rolled_out(kubectl)
    uids = "jsonpath={.items[*].metadata.uid}"
    before = set((await kubectl("get", "pods", "-o", uids)).split())

    await kubectl("rollout", "restart", "statefulset/db")
    await rolled_out(kubectl)

    assert not before & set((await kubectl("get", "pods", "-o", uids)).split())


async def test_claims_are_refused_by_name(kubectl):
    claims = "  volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]\n"

    answer = await kubectl.run("apply", "-f", "-", stdin=STATEFUL_SET + claims)

    assert answer.code == 1
    assert "spec.volumeClaimTemplates: Forbidden" in answer.err


async def test_gates_are_seen_and_let_go(kubectl):
    await kubectl.apply(GATED)
    assert (await kubectl("get", "pod", "a")).split()[5:8] == ["a", "0/1", "SchedulingGated"]

    gone = '[{"op": "remove", "path": "/spec/schedulingGates"}]'
    await kubectl("patch", "pod", "a", "--type=json", "-p", gone)
    await kubectl("wait", "--for=condition=PodScheduled", "pod/a", "--timeout=30s")
    assert (await kubectl.run("wait", "--for=condition=Ready", "pod/a", "--timeout=1s")).code == 1
    await asyncio.to_thread(_open_gate, kubectl.environ["KUBECONFIG"])

    await kubectl("wait", "--for=condition=Ready", "pod/a", "--timeout=30s")
    wide = (await kubectl("get", "pod", "a", "-o", "wide")).splitlines()
    assert wide[1].split()[-1] == "1/1"


def _open_gate(kubeconfig: str) -> None:
    from kubernetes import client, config

    with config.new_client_from_config(kubeconfig) as api:
        condition = {"type": "lb", "status": "True"}
        body = {"status": {"conditions": [condition]}}
        client.CoreV1Api(api).patch_namespaced_pod_status("a", "default", body)


async def test_a_drained_node_is_left_and_taken_up_again(kubectl):
    await kubectl.apply(STATEFUL_SET)
    await rolled_out(kubectl)

    await kubectl("drain", "node-1", "--ignore-daemonsets", "--force", "--timeout=30s")
    await rolled_out(kubectl)

    path = "jsonpath={.items[*].spec.nodeName}"
    assert set((await kubectl("get", "pods", "-o", path)).split()) == {"node-2"}
    await kubectl("uncordon", "node-1")
