"""ENIs that somebody takes away at the cloud from pods that run: put back, or told."""

from __future__ import annotations

import json

import pytest

from tests.support.pod_eni_cluster import PREFIX, open_pod_eni_cluster


@pytest.fixture
async def cluster(tmp_path):
    async with open_pod_eni_cluster(tmp_path) as cluster:
        one = {
            "interface": "eth0",
            "vSwitchOptions": [cluster.cloud.pod_vswitch],
            "securityGroupIDs": [cluster.cloud.group],
        }
        asked = {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [one]})}
        await cluster.make_pod("web-0", "n1", annotations=asked)
        await cluster.settle()
        yield cluster


async def test_a_member_that_somebody_detached_is_attached_again(cluster):
    (before,) = cluster.our_enis()
    detach(cluster, before)

    await cluster.copies.read()
    await cluster.sweep.look()
    await cluster.settle()

    (after,) = cluster.our_enis()
    assert after["NetworkInterfaceId"] == before["NetworkInterfaceId"]
    assert after["Status"] == "InUse"
    record = await cluster.record("web-0")
    assert record.status.phase == "Bind"
    assert "KeepENIFailed" in cluster.told.reasons("Pod")


async def test_an_eni_that_somebody_deleted_under_its_pod_is_told_with_what_to_do(cluster):
    (before,) = cluster.our_enis()
    detach(cluster, before)
    cluster.cloud.call("DeleteNetworkInterface", NetworkInterfaceId=before["NetworkInterfaceId"])
    cluster.cloud.pass_time()

    await cluster.copies.read()
    await cluster.sweep.look()

    words = [text for kind, reason, text in cluster.told.said if reason == "KeepENIFailed"]
    assert all("delete the pod, and the PodENI" in text for text in words)
    assert words


async def test_nobody_asks_again_for_enis_that_are_where_they_should_be(cluster):
    await cluster.copies.read()
    cluster.turns.taken.clear()

    await cluster.sweep.look()

    assert len(cluster.turns.taken) == 1
    assert "KeepENIFailed" not in cluster.told.reasons("Pod")


def detach(cluster, eni) -> None:
    """Detach a member as a person would who errs."""
    cluster.cloud.call(
        "DetachNetworkInterface",
        NetworkInterfaceId=eni["NetworkInterfaceId"],
        InstanceId=cluster.instances["n1"].id,
        TrunkNetworkInstanceId=cluster.trunks["n1"],
    )
    cluster.cloud.pass_time()
