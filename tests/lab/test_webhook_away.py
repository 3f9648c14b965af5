"""While no webhook answers, pods that have a network are refused, and all others made at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from terway.controlplane.hooks import MUTATING
from terway.kube.crds import POD_ENIS, POD_NETWORKINGS
from terway.kube.resource import NAMESPACES, PODS
from terway.kube.watch import WatchEvent
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import CONTROL_PLANE
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import VpcError

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

RAW = PODS.typed(dict[str, Any])
PREFIX = "k8s.aliyun.com/"
AWAY = "is-terway-controlplane-up"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(nodes=1, control_plane=True, eni_conf={"enable_eni_trunking": True}) as lab:
        await make_networking(lab, "web", {"podSelector": {"matchLabels": {"app": "web"}}})
        yield lab


async def make_networking(lab: Lab, name: str, selector: dict[str, Any]) -> None:
    """Make a PodNetworking, and wait until it is Ready."""
    body = {"metadata": {"name": name}, "spec": {"selector": selector}}
    made = await lab.kube.create(POD_NETWORKINGS.typed(dict), body)
    since = made["metadata"]["resourceVersion"]
    async for event in lab.kube.watch(POD_NETWORKINGS, since=since, timeout_s=int(PATIENCE_S)):
        if isinstance(event, WatchEvent) and event.object.status.status == "Ready":
            return


def pod(name: str, *, namespace: str = "default", app: str = "", **spec: Any) -> dict[str, Any]:
    said = {f"{PREFIX}{one}": text for one, text in spec.pop("asks", {}).items()}
    labels = {"app": app} if app else {}
    metadata = {"name": name, "namespace": namespace, "annotations": said, "labels": labels}
    containers = [{"name": "c", "image": "none"}]
    # Nobody has such a node: what is created is all that counts here.
    node = {"nodeSelector": {"none": "such"}}
    return {"metadata": metadata, "spec": {"containers": containers, **node, **spec}}


@asynccontextmanager
async def stopped(lab: Lab) -> AsyncIterator[None]:
    """Have a process that neither answers nor refuses, as one that hangs."""
    assert lab.control_plane is not None
    assert lab.control_plane.pid is not None
    os.kill(lab.control_plane.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(lab.control_plane.pid, signal.SIGCONT)


@asynccontextmanager
async def black_hole(lab: Lab) -> AsyncIterator[None]:
    """Have what is sent to the webhook's address vanish, as after the loss of its node."""
    chain = "add chain ip hole in { type filter hook input priority 0; }"
    rule = f"add rule ip hole in ip daddr {CONTROL_PLANE} tcp dport 4443 drop"
    await nft(lab, f"add table ip hole; {chain}; {rule}")
    try:
        yield
    finally:
        await nft(lab, "delete table ip hole")


async def nft(lab: Lab, text: str) -> None:
    place = f"--net={lab.fabric.services_netns_path}"
    process = await asyncio.create_subprocess_exec("nsenter", place, "nft", text)
    assert await process.wait() == 0


AWAYS = {"hangs": stopped, "is lost": black_hole}
ASKS = {
    "asks for an ENI": pod("asks", asks={"pod-eni": "true"}),
    "lists networks": pod("asks", asks={"pod-networks": '{"podNetworks": []}'}),
    "requests networks": pod("asks", asks={"pod-networks-request": "[]"}),
    "names a network": pod("asks", asks={"pod-networking": "web"}),
    "is selected": pod("asks", app="web"),
}
ASKS_NOT = {
    "is ordinary": pod("not"),
    "has other labels": pod("not", app="db"),
    "declines": pod("not", app="web", asks={"pod-eni": "false"}),
    "is in the host's network": pod("not", app="web", hostNetwork=True),
    "is of the cluster itself": pod("not", app="web", namespace="kube-system"),
}


@pytest.mark.parametrize("why", AWAYS)
async def test_pods_that_no_network_is_for_are_made_without_asking(lab, why):
    async with AWAYS[why](lab):
        for name, body in ASKS_NOT.items():
            made = await lab.kube.create(RAW, body)
            metadata = made["metadata"]
            await lab.kube.delete(PODS, "not", namespace=metadata["namespace"], grace_s=0)
            assert f"{PREFIX}pod-networks" not in metadata.get("annotations", {}), name


async def test_pods_that_a_network_is_for_are_refused_with_what_to_look_at(lab):
    await short_patience(lab)
    async with stopped(lab):
        for name, body in ASKS.items():
            with pytest.raises(VpcError, match=AWAY):
                await lab.kube.create(RAW, body)
            assert await lab.kube.get(PODS, "asks", namespace="default") is None, name


async def short_patience(lab: Lab) -> None:
    """Have the API server wait a second where it waits ten: nobody learns more in the others."""
    found = await lab.kube.get(MUTATING, "terway-controlplane")
    assert found is not None
    hooks = [{**one, "timeoutSeconds": 1} for one in found["webhooks"]]
    await lab.kube.update(MUTATING, {**found, "webhooks": hooks})


async def test_a_namespace_that_opted_out_is_not_asked_about(lab):
    body = {"metadata": {"name": "out", "labels": {f"{PREFIX}pod-eni": "false"}}}
    await lab.kube.create(NAMESPACES.typed(dict), body)

    selected = await lab.kube.create(RAW, pod("selected", namespace="out", app="web"))
    async with stopped(lab):
        await lab.kube.create(RAW, pod("away", namespace="out", app="web"))

    assert not selected["metadata"].get("annotations")
    assert await lab.kube.get(POD_ENIS, "selected", namespace="out") is None


async def test_a_network_is_ready_once_pods_that_it_selects_are_asked_about(lab):
    await make_networking(lab, "late", {"podSelector": {"matchLabels": {"app": "late"}}})

    found = await lab.kube.get(MUTATING, "terway-controlplane")

    assert found is not None
    names = [one["name"].partition(".")[0] for one in found["webhooks"]]
    assert "podnetworking-late-selects-pod" in names
