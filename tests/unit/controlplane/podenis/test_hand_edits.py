"""What a person deletes under a pod that runs: the pod keeps its ENI, and it is written again."""

from __future__ import annotations

import json

import pytest

from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS
from tests.support.pod_eni_cluster import PREFIX, PodENICluster, open_pod_eni_cluster

ELASTIC = {"type": "Elastic"}
FIXED = {"type": "Fixed", "releaseStrategy": "Never"}


@pytest.fixture
async def cluster(tmp_path):
    async with open_pod_eni_cluster(tmp_path) as cluster:
        yield cluster


async def make_bound(cluster: PodENICluster, allocation: dict[str, str]) -> str:
    """Make a pod with an ENI of its own, and return that."""
    network = {
        "interface": "eth0",
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
        "allocationType": allocation,
    }
    said = {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [network]})}
    await cluster.make_pod("web-0", "n1", annotations=said)
    await cluster.settle()
    (made,) = await cluster.interfaces()
    assert made.status.phase == "Bind"
    return made.metadata.name


@pytest.mark.parametrize("allocation", [ELASTIC, FIXED], ids=["elastic", "fixed"])
async def test_a_network_interface_that_is_deleted_under_a_pod_is_there_again(cluster, allocation):
    eni_id = await make_bound(cluster, allocation)

    await cluster.client.delete(NETWORK_INTERFACES, eni_id)
    await cluster.settle()

    (again,) = await cluster.interfaces()
    assert (again.metadata.name, again.status.phase) == (eni_id, "Bind")
    record = await cluster.record("web-0")
    assert record is not None
    assert (record.status.phase, record.spec.allocations[0].eni.id) == ("Bind", eni_id)
    calls = cluster.cloud.cloud.calls
    assert calls.count("DetachNetworkInterface", "DeleteNetworkInterface") == 0
    assert "DeleteENIFailed" in cluster.told.reasons("Pod")
    assert cluster.errors == []


async def test_what_is_deleted_twice_over_under_a_pod_goes_with_the_pod_and_not_before(cluster):
    eni_id = await make_bound(cluster, ELASTIC)

    await cluster.client.delete(POD_ENIS, "web-0", namespace="default")
    await cluster.client.delete(NETWORK_INTERFACES, eni_id)
    await cluster.settle()
    assert [one["Status"] for one in cluster.our_enis()] == ["InUse"]
    await cluster.delete_pod("web-0")
    await cluster.settle()

    assert await cluster.record("web-0") is None
    assert (await cluster.interfaces(), cluster.our_enis()) == ((), [])
