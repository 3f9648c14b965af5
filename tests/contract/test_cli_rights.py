"""Commands that a service account may not do say so with the remedy, and know nothing: exit 3."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terway.cli.place import place_of
from terway.cli.read_kube import read_kube
from terway.kube.client import KubeClient
from terway.lab.kubeapi.resources import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, NODE
from terway.lab.kubeapi.state import ClusterState
from terway.lab.world.accounts import issue_kubeconfig
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_kube_server

USER = "system:serviceaccount:kube-system:terway"


@pytest.fixture
def state() -> ClusterState:
    return make_cluster()


@pytest.fixture
async def of_terway(state: ClusterState, tmp_path: Path) -> AsyncIterator[Path]:
    """Give the kubeconfig of an account without any role."""
    async with open_kube_server(state, tmp_path) as server:
        async with KubeClient(server.unix) as admin:
            base = server.kubeconfig.read_text()
            text = await issue_kubeconfig(admin, base, service_account="terway")
        path = tmp_path / "terway.kubeconfig"
        path.write_text(text)
        yield path


async def run(*words: str) -> tuple[int | None, str]:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terway.cli", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await program.communicate()
    return program.returncode, said.decode()


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (("events",), "list events"),
        (("policy", "status"), "list namespaces"),
        (("connectivity-test",), "list pods"),
    ],
    ids=["events", "policy status", "connectivity-test"],
)
async def test_a_missing_right_is_named_with_whose_and_the_remedy(
    of_terway: Path, tmp_path: Path, words: tuple[str, ...], right: str
) -> None:
    code, said = await run(*words, "--kubeconfig", str(of_terway), "--root", str(tmp_path))

    assert f"{USER} (of {of_terway}) may not {right}" in said
    assert "--kubeconfig FILE or KUBECONFIG" in said
    assert code == 3


async def test_who_may_not_list_services_is_told_of_pods_and_nodes(
    state: ClusterState, of_terway: Path, tmp_path: Path
) -> None:
    meta = {"name": "terway"}
    rule = {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]}
    subject = {"kind": "ServiceAccount", "name": "terway", "namespace": "kube-system"}
    reference = {"kind": "ClusterRole", "name": "terway"}
    state.create(CLUSTER_ROLE, {"metadata": meta, "rules": [rule]})
    binding = {"metadata": meta, "roleRef": reference, "subjects": [subject]}
    state.create(CLUSTER_ROLE_BINDING, binding)
    state.create(NODE, {"metadata": {"name": "node-1"}})

    place = place_of({}, root=tmp_path, kubeconfig=str(of_terway))
    seen = await read_kube(place, everything=True)

    assert [one.name for one in seen.nodes] == ["node-1"]
    assert seen.services == ()
