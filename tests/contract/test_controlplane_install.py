"""Our CRDs at an API server: installed, upgraded, never taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from terway.controlplane.install import (
    CRDS,
    VERSION,
    install_definitions,
    keep_definitions,
    read_definitions,
)
from terway.kube.client import KubeClient
from terway.kube.crds import (
    NETWORK_INTERFACES,
    NODE_RUNTIMES,
    POD_ENIS,
    POD_NETWORKINGS,
    POOL_NODES,
    AllocatedENI,
    Allocation,
    AllocationType,
    ENIInfo,
    HeldIP,
    NetworkInterface,
    NetworkInterfaceSpec,
    NodeIP,
    NodeNetworkInterface,
    NodeRuntime,
    NodeRuntimeStatus,
    NodeStatus,
    PodENI,
    PodENISpec,
    PodNetworking,
    PodNetworkingSpec,
    PoolNode,
)
from terway.kube.resource import Resource
from terway.kube.types import ObjectMeta
from terway.model.errors import UsageError
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

DEFINITIONS = read_definitions()
RESOURCES: tuple[Resource[Any], ...] = (
    NETWORK_INTERFACES,
    NODE_RUNTIMES,
    POD_ENIS,
    POD_NETWORKINGS,
    POOL_NODES,
)


def older(definition: dict[str, Any], version: str) -> dict[str, Any]:
    """Return a CRD of that name with nearly nothing in its schema."""
    metadata = {**definition["metadata"], "annotations": {VERSION: version, "kept": "yes"}}
    (first,) = definition["spec"]["versions"]
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        **definition,
        "metadata": metadata,
        "spec": {**definition["spec"], "versions": [{**first, "schema": schema}]},
    }


async def versions(client: KubeClient) -> dict[str, str]:
    names = [one["metadata"]["name"] for one in DEFINITIONS]
    found = [one for name in names if (one := await client.get(CRDS, name)) is not None]
    return {one["spec"]["names"]["kind"]: one["metadata"]["annotations"][VERSION] for one in found}


async def test_an_empty_cluster_gets_all_of_them_and_serves_them(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(client, DEFINITIONS)

        assert set(await versions(client)) == {
            "PodENI",
            "PodNetworking",
            "NetworkInterface",
            "Node",
            "NodeRuntime",
            "PolicyNodeStatus",
        }
        for resource in RESOURCES:
            assert (await client.list(resource)).items == ()


async def test_an_older_one_is_replaced_and_keeps_what_others_wrote_on_it(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        for definition in DEFINITIONS:
            await client.create(CRDS, older(definition, "v0.1.0"))

        await install_definitions(client, DEFINITIONS)

        name = "nodes.network.alibabacloud.com"
        found = await client.get(CRDS, name)
        assert found is not None
        assert found["metadata"]["annotations"][VERSION] == "v1.0.0"
        assert found["metadata"]["annotations"]["kept"] == "yes"
        (version,) = found["spec"]["versions"]
        assert "status" in version["schema"]["openAPIV3Schema"]["properties"]


async def test_a_newer_one_is_left_alone(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        for definition in DEFINITIONS:
            await client.create(CRDS, older(definition, "v2.0.0"))

        await install_definitions(client, DEFINITIONS)

        assert set((await versions(client)).values()) == {"v2.0.0"}


async def test_one_that_somebody_deletes_is_made_again_without_a_restart(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        name = "noderuntimes.network.alibabacloud.com"
        await install_definitions(client, read_definitions())
        await client.delete(CRDS, name)

        keeping = asyncio.create_task(keep_definitions(client, every_s=0.0))
        async with asyncio.timeout(30):
            while await client.get(CRDS, name) is None:  # noqa: ASYNC110 - it is told nowhere else
                await asyncio.sleep(0)
        keeping.cancel()


async def test_several_install_at_a_time(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        for definition in DEFINITIONS[:3]:
            await client.create(CRDS, older(definition, "v0.1.0"))

        await asyncio.gather(*(install_definitions(client, DEFINITIONS) for _ in range(4)))

        assert set((await versions(client)).values()) == {"v1.0.0"}


async def test_names_that_another_has_are_said_at_once(tmp_path):
    node = next(one for one in DEFINITIONS if one["spec"]["names"]["kind"] == "Node")
    names = {"kind": "Other", "listKind": "OtherList", "plural": "others", "singular": "node"}
    other = {
        **node,
        "metadata": {"name": f"others.{node['spec']['group']}"},
        "spec": {**node["spec"], "names": names},
    }
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(
            client,
            [{**other, "metadata": {**other["metadata"], "annotations": {VERSION: "v1.0.0"}}}],
        )

        with pytest.raises(UsageError, match="has its names"):
            await install_definitions(client, [node])


async def test_what_we_write_comes_back_whole(tmp_path):
    """bug class 20: the API server drops a field that the CRD does not have."""
    eni = AllocatedENI(
        id="eni-1",
        vswitch_id="vsw-1",
        security_group_ids=("sg-1",),
        traffic_mode="HighPerformance",
    )
    pod_eni = PodENI(
        metadata=ObjectMeta(name="web-0", namespace="default"),
        spec=PodENISpec(
            zone="z",
            allocations=(
                Allocation(
                    eni=eni,
                    ipv4="10.0.0.7",
                    allocation_type=AllocationType(
                        type="Fixed", release_strategy="TTL", release_after="5m0s"
                    ),
                ),
            ),
        ),
    )
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(client, DEFINITIONS)

        assert (await client.create(POD_ENIS, pod_eni)).spec == pod_eni.spec
        spec = NetworkInterfaceSpec(eni=eni, ipv4="10.0.0.7")
        made = await client.create(
            NETWORK_INTERFACES,
            NetworkInterface(metadata=ObjectMeta(name="eni-1"), spec=spec),
        )
        assert made.spec == spec
        assert made.status.eni_info == ENIInfo()


async def test_statuses_of_ours_come_back_whole(tmp_path):
    address = NodeIP(ip="10.0.0.7", status="Deleting", recall=7)
    status = NodeStatus(
        journal="[]",
        reason="vsw-1 is full",
        network_interfaces={
            "eni-1": NodeNetworkInterface(
                id="eni-1", status="InUse", type="Secondary", ipv4={address.ip: address}
            )
        },
    )
    runtime = NodeRuntimeStatus(
        held={"10.0.0.8": HeldIP(pod_uid="u")}, released={"10.0.0.7": 7}, waiting=2, seen="12"
    )
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(client, DEFINITIONS)
        node = await client.create(POOL_NODES, PoolNode(metadata=ObjectMeta(name="n1")))
        use = await client.create(NODE_RUNTIMES, NodeRuntime(metadata=ObjectMeta(name="n1")))

        written = PoolNode(metadata=node.metadata, status=status)
        node = await client.update(POOL_NODES, written, subresource="status")
        told = NodeRuntime(metadata=use.metadata, status=runtime)
        use = await client.update(NODE_RUNTIMES, told, subresource="status")

        assert (node.status, use.status) == (status, runtime)


async def test_a_network_of_few_words_has_the_documented_defaults(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(client, DEFINITIONS)

        made = await client.create(
            POD_NETWORKINGS,
            PodNetworking(
                metadata=ObjectMeta(name="db"),
                spec=PodNetworkingSpec(allocation_type=AllocationType(release_after="1h")),
            ),
        )

        assert made.spec.eni_options.eni_type == "Default"
        assert made.spec.allocation_type.type == "Elastic"
        assert made.spec.vswitch_select_options.vswitch_selection_policy == "ordered"


async def test_values_that_cannot_be_are_refused_with_their_field(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await install_definitions(client, DEFINITIONS)
        body = {"metadata": {"name": "db"}, "spec": {"eniOptions": {"eniType": "Trunks"}}}

        with pytest.raises(UsageError, match=r"spec\.eniOptions\.eniType"):
            await client.create(POD_NETWORKINGS, body)
