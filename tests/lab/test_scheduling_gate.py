"""A gate keeps a pod back until its ENI exists, and then leads it to the ENI's zone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.crds import POD_ENIS
from terway.kube.resource import PODS
from terway.kube.watch import WatchEvent
from terway.lab.kubeapi.resources import POD
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.pods import pod_manifest
from terway.lab.world.waiting import PATIENCE_S
from terway.lab.world.zones import ZonePlan

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

RAW = PODS.typed(dict[str, Any])
PREFIX = "k8s.aliyun.com/"
GATE = {"name": f"{PREFIX}pod-eni"}
FAR = ZonePlan(
    zone_id="cn-hangzhou-j",
    node_cidr=IPv4Network("192.168.64.0/19"),
    pod_cidr=IPv4Network("192.168.96.0/19"),
)
POOL = NodePool(name="far", nodes=1, instance_type="ecs.g7.2xlarge", zone_id=FAR.zone_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        nodes=1,
        pools=(POOL,),
        zones=(FAR,),
        control_plane=True,
        control_plane_conf={"enableSchedulingGate": True},
        eni_conf={"enable_eni_trunking": True},
    ) as lab:
        yield lab


def asking(lab: Lab, zone_id: str, **more: Any) -> dict[str, str]:
    """Return the annotation of a pod that asks for the vSwitch of a zone."""
    vswitch = lab.ground.zones[zone_id].pod_vswitch_id
    one = {"interface": "eth0", "vSwitchOptions": [vswitch], **more}
    one.setdefault("securityGroupIDs", [lab.ground.security_group_id])
    return {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [one]})}


FIXED = {"allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "10m"}}


@asynccontextmanager
async def stopped(lab: Lab) -> AsyncIterator[None]:
    assert lab.control_plane is not None
    assert lab.control_plane.pid is not None
    os.kill(lab.control_plane.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(lab.control_plane.pid, signal.SIGCONT)


async def raw_pod(lab: Lab, name: str) -> dict[str, Any]:
    found = await lab.kube.get(RAW, name, namespace="default")
    assert found is not None
    return found


async def scheduled(lab: Lab, name: str) -> None:
    """Create an ordinary pod, and return once it has a node."""
    made = await lab.kube.create(RAW, pod_manifest(name, namespace="default", node=None))
    since = made["metadata"]["resourceVersion"]
    async for event in lab.kube.watch(RAW, since=since, namespace="default"):
        assert isinstance(event, WatchEvent)
        found = event.object
        if found["metadata"]["name"] == name and found["spec"].get("nodeName"):
            return
    raise AssertionError("nobody schedules")


def reason_of(pod: dict[str, Any]) -> str:
    """Return why a pod is not scheduled."""
    conditions: list[dict[str, str]] = pod["status"]["conditions"]
    return next(one["reason"] for one in conditions if one["type"] == "PodScheduled")


async def test_a_pod_is_kept_back_until_its_eni_exists_whoever_is_away_meanwhile(lab):
    asked = asking(lab, FAR.zone_id)
    manifest = pod_manifest("kept", namespace="default", node=None, annotations=asked)
    # As it is when the control plane dies right after it has let the pod in.
    manifest["metadata"]["annotations"][f"{PREFIX}pod-eni"] = "true"
    manifest["spec"]["schedulingGates"] = [GATE]
    cluster = lab.services.cluster
    assert cluster is not None

    async with stopped(lab):
        cluster.create(POD, manifest, "default")
        await scheduled(lab, "later")  # so that the scheduler has looked at both
        held = await raw_pod(lab, "kept")
        assert (held["status"]["phase"], reason_of(held)) == ("Pending", "SchedulingGated")
        assert held["spec"]["schedulingGates"] == [GATE]
        assert "nodeName" not in held["spec"]
        assert await lab.kube.get(POD_ENIS, "kept", namespace="default") is None
    pod = await lab.wait_pod("kept")

    record = await lab.kube.get(POD_ENIS, "kept", namespace="default")
    assert record is not None
    (one,) = record.spec.allocations
    assert (pod.node.name, one.eni.zone) == ("far-1", FAR.zone_id)
    assert str(pod.addresses.v4) == one.ipv4
    assert not (await raw_pod(lab, "kept"))["spec"].get("schedulingGates")


@pytest.mark.parametrize("node", ["node-1", "far-1"])
async def test_a_fixed_address_draws_its_next_pod_to_its_zone(lab, node):
    zone_id = lab.plan.zone_of(node)
    name = f"web-{node}"
    before = await lab.pod(name, annotations=asking(lab, zone_id, **FIXED))
    await lab.delete_pod(name)
    # The next one may have either zone's vSwitch, by what it asks for.
    ids = [held.pod_vswitch_id for held in lab.ground.zones.values()]
    wide = asking(lab, zone_id, **FIXED, vSwitchOptions=ids)

    after = await lab.pod(name, annotations=wide)

    assert before.node.name == after.node.name == node
    assert before.addresses == after.addresses
    terms = (await raw_pod(lab, name))["spec"]["affinity"]["nodeAffinity"]
    assert zone_id in json.dumps(terms)


DAEMONS = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: daemons, namespace: default}
spec:
  selector: {matchLabels: {app: daemons}}
  template:
    metadata:
      labels: {app: daemons}
      annotations: {k8s.aliyun.com/pod-eni: "true"}
    spec:
      containers: [{name: c, image: busybox}]
"""


async def test_pods_of_a_daemon_set_are_neither_gated_nor_led_elsewhere(lab):
    since = (await lab.kube.list(RAW)).resource_version
    await lab.apply(DAEMONS)

    found: dict[str, dict[str, Any]] = {}
    async for event in lab.kube.watch(
        RAW, since=since, namespace="default", timeout_s=int(PATIENCE_S)
    ):
        if isinstance(event, WatchEvent) and "daemons" in event.object["metadata"]["name"]:
            found.setdefault(event.object["metadata"]["name"], event.object)
            if len(found) == 2:
                break

    assert len(found) == 2
    for one in found.values():
        assert one["metadata"]["annotations"][f"{PREFIX}pod-networks"]
        assert not one["spec"].get("schedulingGates")
        assert "topology.kubernetes.io/zone" not in json.dumps(one["spec"]["affinity"])
