"""Pods with fixed addresses in a whole lab: admitted, bound and moved, with packets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS
from terway.kube.resource import PODS
from terway.kube.watch import EventType, WatchEvent
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import pod_manifest
from terway.lab.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

WHOLE = NodePool(name="eni", nodes=2, labels=EXCLUSIVE_LABELS)
FIXED = {
    "interface": "eth0",
    "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "10m"},
}
ASKED = {"k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [FIXED]})}
PLACES = {"members of trunks": ("node-1", "node-2"), "whole ENIs": ("eni-1", "eni-2")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        nodes=2,
        pools=(WHOLE,),
        control_plane=True,
        eni_conf={"enable_eni_trunking": True},
    ) as lab:
        yield lab


async def allocation(lab: Lab, name: str) -> Any:
    found = await lab.kube.get(POD_ENIS, name, namespace="default")
    assert found is not None
    assert found.status.phase == "Bind"
    (one,) = found.spec.allocations
    return one


@pytest.mark.parametrize("kind", PLACES)
async def test_a_pod_keeps_address_mac_and_eni_when_it_moves(lab, kind):
    first, second = PLACES[kind]
    name = f"web-{first}"
    other = await lab.pod(f"other-{first}", node=second)

    before = await lab.pod(name, node=first, annotations=ASKED)
    had = await allocation(lab, name)
    await lab.delete_pod(name)
    after = await lab.pod(name, node=second, annotations=ASKED)
    has = await allocation(lab, name)

    assert before.addresses == after.addresses
    assert (has.eni.id, has.eni.mac, has.ipv4) == (had.eni.id, had.eni.mac, had.ipv4)
    assert str(after.addresses.v4) == has.ipv4
    for address in after.addresses:
        seen = await other.tool("whoami", str(address))
        assert seen["peer"] in map(str, other.addresses)
    seen = await after.tool("whoami", str(other.addresses.v4))
    assert seen["peer"] == has.ipv4


async def test_a_control_plane_that_dies_in_the_middle_of_a_move_ends_it(lab):
    """Bug class 7: what it had begun stands in the PodENI, and its successor reads it."""
    await lab.pod("db-0", node="node-1", annotations=ASKED)
    had = await allocation(lab, "db-0")
    await lab.delete_pod("db-0")

    manifest = pod_manifest("db-0", namespace="default", node="node-2", annotations=ASKED)
    await lab.kube.create(PODS, manifest, namespace="default")
    await lab.control_plane.kill()
    after = await lab.wait_pod("db-0")

    has = await allocation(lab, "db-0")
    assert (has.eni.id, str(after.addresses.v4)) == (had.eni.id, had.ipv4)
    ours = [
        one
        for one in lab.cloud.world.state.enis.values()
        if dict(one.tags).get("creator") == "terway-controller"
    ]
    listing = await lab.kube.list(POD_ENIS)
    recorded = {each.eni.id for one in listing.items for each in one.spec.allocations}
    assert {one.id for one in ours} == recorded


async def test_an_elastic_pod_leaves_nothing(lab):
    elastic = {"k8s.aliyun.com/pod-eni": "true"}
    await lab.pod("elastic", node="node-1", annotations=elastic)
    eni_id = (await allocation(lab, "elastic")).eni.id
    since = (await lab.kube.list(POD_ENIS)).resource_version

    await lab.delete_pod("elastic")
    async with aclosing(lab.kube.watch(POD_ENIS, since=since, timeout_s=int(PATIENCE_S))) as events:
        async for event in events:
            if isinstance(event, WatchEvent) and event.type is EventType.DELETED:
                break

    assert await lab.kube.get(POD_ENIS, "elastic", namespace="default") is None
    assert await lab.kube.get(NETWORK_INTERFACES, eni_id) is None
    assert eni_id not in lab.cloud.world.state.enis


async def test_what_cannot_be_had_is_refused_with_its_field(lab):
    short = {**FIXED, "allocationType": {"type": "Fixed", "releaseAfter": "1s"}}
    asked = {"k8s.aliyun.com/pod-networks": json.dumps({"podNetworks": [short]})}

    with pytest.raises(Exception, match="releaseAfter must be 5m at least"):
        await lab.pod("short", annotations=asked)

    assert await lab.kube.get(PODS, "short", namespace="default") is None
