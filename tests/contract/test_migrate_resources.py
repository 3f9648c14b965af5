"""Upstream's custom resources are there again after the way back, in its definitions and words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from terway.cli.migrate_action import Goal
from terway.cli.migrate_next import next_forward
from terway.cli.migrate_return import next_back
from terway.cli.migrate_seen import definitions
from terway.controlplane.install import install_definitions, read_definitions
from terway.kube.client import KubeClient
from terway.kube.crds import NODE_RUNTIMES, POOL_NODES
from terway.lab.kubeapi.manifests import apply_manifests
from tests.support.live_cluster import open_live_cluster
from tests.support.migrating_cluster import Cluster, open_migration
from tests.support.upstream_definitions import definitions as upstreams_definitions
from tests.support.upstream_resources import POD_ENI_EXAMPLE, examples, put, read_all


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[Cluster]:
    async with open_live_cluster(tmp_path) as server:
        kinds = upstreams_definitions(read_definitions())
        apply_manifests(server.state, yaml.safe_dump_all(kinds))
        async with KubeClient(server.unix) as client:
            for one in examples():  # before the webhook, which nobody answers here
                await put(client, one)
        async with open_migration(server) as found:
            yield found


async def known_definitions(cluster: Cluster) -> dict[str, Any]:
    return {
        one["metadata"]["name"]: (one["metadata"]["annotations"], one["spec"])
        for one in await definitions(cluster.client)
    }


async def rule(cluster: Cluster) -> None:
    """Write what our control plane and an agent write, as they last did before they left."""
    await install_definitions(cluster.client, read_definitions())
    node = await cluster.client.get(POOL_NODES.typed(dict[str, Any]), "node-1")
    assert node is not None
    status = json.loads(json.dumps(node["status"]))
    (eni,) = status["networkInterfaces"].values()
    free = next(one for one in eni["ipv4"].values() if not one["primary"] and "podID" not in one)
    free |= {"status": "Deleting", "recall": 7}
    status |= {"round": 7, "journal": '{"recalls":7}', "reason": "none"}
    body = {**node, "status": status}
    await cluster.client.update(POOL_NODES.typed(dict[str, Any]), body, subresource="status")
    said = {"held": {"192.168.32.10": {"podUID": "u"}}, "waiting": 1, "seen": "9"}
    patch = {"status": {**said, "released": {"192.168.32.11": 6}}}
    await cluster.client.patch(NODE_RUNTIMES, "node-1", patch, subresource="status")


async def test_resources_and_definitions_are_upstreams_again_and_hold_nothing_of_ours(cluster):
    """bug class 20: a downgrade reads what the version after has written."""
    before, known = await read_all(cluster.client), await known_definitions(cluster)
    assert POD_ENI_EXAMPLE in before
    await cluster.go(next_forward)
    await rule(cluster)
    assert await read_all(cluster.client) != before

    await cluster.go(next_back, Goal())

    assert await read_all(cluster.client) == before
    assert {name: (await known_definitions(cluster))[name] for name in known} == known
