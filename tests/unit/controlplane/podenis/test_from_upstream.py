"""A pod with a fixed address that upstream's control plane made is ours as it is, and stays so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from terway.kube.crds import POD_ENIS
from terway.kube.resource import PODS
from tests.support.pod_eni_cluster import CLUSTER, PREFIX, PodENICluster, open_pod_eni_cluster
from tests.support.upstream_resources import network_interface, pod_eni, put

VID = 1
ANNOTATIONS = {f"{PREFIX}pod-eni": "true", f"{PREFIX}pod-networking": "fixed"}


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[PodENICluster]:
    async with open_pod_eni_cluster(tmp_path) as cluster:
        yield cluster


async def of_upstream(cluster: PodENICluster, name: str = "web-0") -> str:
    """Let upstream have made a pod with a member ENI on n1; return the ENI."""
    pod = await cluster.make_pod(name, "n1", annotations=ANNOTATIONS, is_admitted=False)
    tags = {
        "Tag.1.Key": "ack.aliyun.com",
        "Tag.1.Value": CLUSTER,
        "Tag.2.Key": "creator",
        "Tag.2.Value": "terway-controller",
    }
    eni_id = cluster.cloud.create_eni(**tags)
    cluster.cloud.call(
        "AttachNetworkInterface",
        NetworkInterfaceId=eni_id,
        InstanceId=cluster.instances["n1"].id,
        TrunkNetworkInstanceId=cluster.trunks["n1"],
    )
    cluster.cloud.pass_time()
    eni = cluster.cloud.eni(eni_id)
    assert eni["Status"] == "InUse"
    record = pod_eni(
        name,
        eni,
        uid=pod["metadata"]["uid"],
        node="n1",
        instance=cluster.instances["n1"].id,
        trunk=cluster.trunks["n1"],
        vid=VID,
    )
    await put(cluster.client, network_interface(record, eni, vid=VID))
    await put(cluster.client, record)
    status = {"status": {"phase": "Running", "podIP": eni["PrivateIpAddress"]}}
    await cluster.client.patch(PODS, name, status, namespace="default", subresource="status")
    return eni_id


async def test_what_upstream_wrote_is_believed_and_nothing_is_asked_of_the_cloud(cluster):
    eni_id = await of_upstream(cluster)
    before = await cluster.record("web-0")

    await cluster.settle()

    assert await cluster.record("web-0") == before
    (interface,) = await cluster.interfaces()
    assert (interface.metadata.name, interface.status.phase) == (eni_id, "Bind")
    assert not {one for one in cluster.turns.taken if not one.startswith("Describe")}
    assert cluster.errors == []


async def test_the_next_pod_of_the_name_has_its_eni_address_and_mac_wherever_it_is(cluster):
    eni_id = await of_upstream(cluster)
    before = await cluster.record("web-0")
    await cluster.settle()

    await cluster.delete_pod("web-0")
    await cluster.settle()
    pod = await cluster.make_pod("web-0", "n2", annotations=ANNOTATIONS, is_admitted=False)
    await cluster.settle()

    after = await cluster.record("web-0")
    assert after.spec == before.spec
    (one,) = after.spec.allocations
    assert (one.eni.id, one.allocation_type.release_after) == (eni_id, "30m0s")
    assert after.metadata.annotations[f"{PREFIX}pod-uid"] == pod["metadata"]["uid"]
    assert (after.status.phase, after.status.trunk_eni_id) == ("Bind", cluster.trunks["n2"])
    eni = cluster.cloud.eni(eni_id)
    assert (eni["PrivateIpAddress"], eni["MacAddress"]) == (one.ipv4, one.eni.mac)


async def test_its_retention_is_kept_and_no_address_goes_before_it_is_over(cluster):
    eni_id = await of_upstream(cluster)
    await cluster.delete_pod("web-0")
    await cluster.settle()

    cluster.cloud.pass_time(29 * 60.0)
    await cluster.settle()
    assert (await cluster.record("web-0")).status.phase == "Unbind"
    assert cluster.cloud.eni(eni_id)["Status"] == "Available"

    cluster.cloud.pass_time(120.0)
    await cluster.settle()
    assert await cluster.record("web-0") is None
    assert cluster.our_enis() == []


async def test_one_that_waited_at_upstream_waits_on_for_its_whole_time(cluster):
    """Upstream keeps the uid of the last pod, and a stamp that it renews: both are of before."""
    eni_id = await of_upstream(cluster)
    await cluster.delete_pod("web-0")
    await cluster.settle()
    raw = POD_ENIS.typed(dict[str, Any])
    stale = {"podLastSeen": "2026-01-01T00:00:00Z"}
    uid = {"metadata": {"annotations": {f"{PREFIX}pod-uid": "uid-of-before"}}}
    await cluster.client.patch(raw, "web-0", uid, namespace="default")
    await cluster.client.patch(
        raw, "web-0", {"status": stale}, namespace="default", subresource="status"
    )
    cluster.build()

    await cluster.settle()

    assert (await cluster.record("web-0")).status.phase == "Unbind"
    assert cluster.cloud.eni(eni_id)["Status"] == "Available"
