"""terway-cli migrate in a whole lab: it shows a node, and asks before anything is changed."""

from __future__ import annotations

import asyncio
import sys
import uuid

import pytest

from terway.cli.migrate_cluster import LABEL
from terway.kube.resource import NODES
from terway.lab.world.lab import Lab, open_lab

pytestmark = pytest.mark.lab


async def migrate(lab: Lab, *words: str) -> tuple[int, str]:
    """Run terway-cli migrate on the lab's node; return its exit code and all that it says."""
    command = (sys.executable, "-m", "terway.cli", "migrate", *words)
    process = await asyncio.create_subprocess_exec(
        *lab.node("node-1").words(command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_node_that_is_ours_is_shown_as_done_and_is_not_given_back_while_it_runs():
    async with open_lab(name=f"t{uuid.uuid4().hex[:8]}", nodes=1) as lab:
        pod = await lab.pod("a", node="node-1")
        address = str(pod.addresses.v4)

        code, shown = await migrate(lab, "--dry-run")
        _, wanted = await migrate(lab, "--back", "--dry-run")
        refused, why = await migrate(lab, "--back", "--yes")
        unasked, _ = await migrate(lab, "--set", "controlPlane.enabled=false")

        assert code == 0, shown
        assert "[x] node node-1: taken over" in shown
        assert "nothing was changed" in shown
        assert "default/a" in wanted
        assert address in wanted
        assert refused != 0, why
        assert unasked != 0
        node = await lab.kube.get(NODES, "node-1")
        assert node is not None
        assert LABEL not in node.metadata.labels
