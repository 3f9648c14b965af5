"""What docs/upgrade.md has for objects that wait for a control plane that is gone, with kubectl."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from terway.controlplane.install import CRDS, install_definitions, read_definitions
from terway.kube.client import KubeClient
from terway.kube.crds import (
    ENI_FINALIZER,
    NETWORK_INTERFACES,
    NODE_FINALIZER,
    POD_ENI_FINALIZER,
    POD_ENIS,
    POOL_NODES,
)
from terway.kube.resource import Resource
from tests.support.live_cluster import open_live_cluster

PAGE = Path(__file__).parents[2] / "docs" / "upgrade.md"
KINDS = ("podenis", "networkinterfaces", "nodes")


def remedy() -> str:
    """Return the commands that follow the words by which a person finds them."""
    _, _, after = PAGE.read_text().partition("**When a namespace, a CRD or a Service does not go**")
    return after.partition("```sh\n")[2].partition("```")[0]


async def make_stuck(client: KubeClient) -> None:
    """Make one object of each kind, and have somebody delete their definitions."""
    heads: tuple[tuple[Resource[Any], dict[str, Any]], ...] = (
        (POD_ENIS, {"namespace": "default", "finalizers": [POD_ENI_FINALIZER]}),
        (NETWORK_INTERFACES, {"finalizers": [ENI_FINALIZER]}),
        (POOL_NODES, {"finalizers": [NODE_FINALIZER]}),
    )
    for resource, head in heads:
        body: dict[str, Any] = {"metadata": {"name": "a", **head}, "spec": {}}
        await client.create(resource.typed(dict[str, Any]), body)
    for kind in KINDS:
        await client.delete(CRDS, f"{kind}.network.alibabacloud.com")


async def left(client: KubeClient) -> set[str]:
    """Return which kinds there are; one is there as long as it has an object."""
    found = await client.list(CRDS)
    return {one["spec"]["names"]["plural"] for one in found.items} & set(KINDS)


async def test_what_waits_for_a_control_plane_that_is_gone_goes_by_the_documented_commands(
    tmp_path,
):
    async with (
        open_live_cluster(tmp_path) as server,
        KubeClient(server.unix) as client,
        asyncio.timeout(60),  # kubectl starts a dozen times, on a machine with more to do
    ):
        await install_definitions(client, read_definitions())
        await make_stuck(client)
        assert await left(client) == set(KINDS)

        environ = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}
        ran = await asyncio.create_subprocess_exec("sh", "-ec", remedy(), env=environ)

        assert await ran.wait() == 0
        assert await left(client) == set()
