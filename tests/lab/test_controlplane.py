"""terway-controlplane as a process of its own in a lab: started, asked, killed, started again."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from terway.controlplane.install import CRDS
from terway.kube.crds import POD_NETWORKINGS, PodNetworking
from terway.kube.resource import LEASES, PODS
from terway.kube.types import ObjectMeta
from terway.lab.world.controlplane import wait_control_plane
from terway.lab.world.lab import open_lab
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import UsageError

pytestmark = [pytest.mark.lab]

NAME = f"t{uuid.uuid4().hex[:8]}"


def pod(name: str, **annotations: str) -> dict[str, Any]:
    said = {f"k8s.aliyun.com/{one}": value for one, value in annotations.items()}
    metadata = {"name": name, "namespace": "default", "annotations": said}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "none"}]}}


async def test_a_lab_with_a_control_plane_has_its_resources_and_its_webhook():
    async with open_lab(name=NAME, nodes=1, control_plane=True, progress=print) as lab:
        assert lab.control_plane is not None
        assert await lab.kube.get(CRDS, "nodes.network.alibabacloud.com") is not None
        lease = await lab.kube.get(LEASES, "terway-controller-lock", namespace="kube-system")
        assert lease is not None
        first = lease.spec.holder_identity

        raw = PODS.typed(dict[str, Any])
        with pytest.raises(UsageError, match="there is no such PodNetworking"):
            await lab.kube.create(raw, pod("a", **{"pod-networking": "nowhere"}))

        # A network without words has those of eni-config.
        network = PodNetworking(metadata=ObjectMeta(name="net"))
        found: PodNetworking | None = await lab.kube.create(POD_NETWORKINGS, network)
        while found is not None and not found.status.status:
            await asyncio.sleep(0.05)
            found = await lab.kube.get(POD_NETWORKINGS, "net")
        assert found is not None
        assert found.status.status == "Ready", found.status.message

        # After a crash the next one works as soon as the lease is free.
        await lab.control_plane.kill()
        async with asyncio.timeout(PATIENCE_S):
            while lease is None or lease.spec.holder_identity == first:
                await asyncio.sleep(0.1)
                lease = await lab.kube.get(
                    LEASES, "terway-controller-lock", namespace="kube-system"
                )
        await wait_control_plane(lab.control_plane, lab.fabric.services_netns_path)
