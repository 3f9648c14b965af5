"""A node's processes are told from those of other nodes, though one kernel has them all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from terway.lab.world.lab import open_lab
from terway.lab.world.node import NodeHandle
from terway.linux.ebpf.cgroup import find_cgroup

pytestmark = pytest.mark.lab


async def test_each_node_has_a_cgroup_of_its_own_as_long_as_it_lives():
    async with open_lab(nodes=2) as lab:
        nodes = [lab.node(name) for name in ("node-1", "node-2")]
        of_init = [place_in(await asyncio.to_thread(init_text, node)) for node in nodes]
        of_command = [place_in(await node.exec("cat", "/proc/self/cgroup")) for node in nodes]

    assert of_command == of_init
    assert len(set(of_init)) == 2
    assert [place for place in of_init if not place.startswith("/terway-lab/")] == []
    assert not any((find_cgroup() / place.lstrip("/")).exists() for place in of_init)


def init_text(node: NodeHandle) -> str:
    return Path(f"/proc/{node.init_pid}/cgroup").read_text()


def place_in(text: str) -> str:
    """Return the cgroup2 that a process says it is in."""
    return next(line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::"))
