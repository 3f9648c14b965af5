"""A migration that cannot be seen, or is of nodes that are not there, is none that is done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from terway.lab.kubeapi.manifests import apply_manifests
from tests.support.kube_server import READER_TOKEN, TOKEN
from tests.support.live_cluster import open_live_cluster
from tests.support.upstream_objects import daemon_set, eni_config

ASKED = (
    ("--dry-run",),
    ("--dry-run", "--json"),
    ("--yes",),
    ("--yes", "--json"),
    ("--yes", "--finish"),
    ("--back", "--all", "--yes"),
    ("--back", "--node", "node-1", "--dry-run"),
)


async def migrate(words: Sequence[str], kubeconfig: Path, root: Path) -> tuple[int, str]:
    """Run terway-cli migrate where no Terway is; return its exit code and all that it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "terway.cli", "migrate", *words),
        *(f"--kubeconfig={kubeconfig}", f"--root={root}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("words", ASKED)
async def test_without_a_cluster_nothing_is_known_and_the_reason_is_told(tmp_path, words):
    code, said = await migrate(words, tmp_path / "none", tmp_path)

    assert code == 3, said
    assert "none: No such file or directory" in " ".join(said.split())
    assert "to do" not in said
    assert "clusterID" not in said


@pytest.mark.parametrize(
    "words", [("--dry-run",), ("--yes",), ("--back", "--yes"), ("--back", "--dry-run")]
)
async def test_a_node_that_is_not_there_is_refused_with_those_that_are(tmp_path, words):
    async with open_live_cluster(tmp_path) as server:
        apply_manifests(server.state, yaml.safe_dump(daemon_set()))
        nodes = ("--node", "node-2", "--node", "nope")

        code, said = await migrate((*words, *nodes), server.kubeconfig, tmp_path)

    text = "--node nope: no such node in the cluster. There are: node-1, node-2"
    assert (code, said) == (2, f"terway-cli: {text}\n")


@pytest.mark.parametrize("words", ASKED)
async def test_who_may_not_read_the_cluster_is_told_who_may(tmp_path, words):
    async with open_live_cluster(tmp_path) as server:
        text = server.kubeconfig.read_text()
        server.kubeconfig.write_text(text.replace(TOKEN, READER_TOKEN))

        code, said = await migrate(words, server.kubeconfig, tmp_path)

    flat = " ".join(said.split())
    assert code == 3, said
    assert "reader" in flat
    assert "--kubeconfig FILE" in flat


async def test_the_plan_of_a_node_is_shown_without_the_others(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        for one in (eni_config(), daemon_set()):
            apply_manifests(server.state, yaml.safe_dump(one))

        words = ("--dry-run", "--node", "node-2")
        code, said = await migrate(words, server.kubeconfig, tmp_path)

    assert code == 0, said
    assert "1 node: node-2" in said
    assert "node-1" not in said
