"""The first impression."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from terway.lab.world.client import LabClient
from terway.lab.world.paths import LabPaths, leftovers

pytestmark = pytest.mark.lab


def demo(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "terway.lab.cli", "demo", "--nodes", "2", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_measures_every_path_shows_policies_and_leaves_nothing() -> None:
    text = demo("--name", "demo-once")

    rows = [line for line in text.splitlines() if line.endswith("its own")]
    paths = {row.rpartition("IPv")[0].strip() for row in rows}
    assert paths == {
        "pod to pod, same node",
        "pod to pod, across nodes",
        "pod to its node",
        "pod to another node",
        "node to its pod",
        "node to a pod elsewhere",
    }
    assert len(rows) == 2 * len(paths)
    assert [line.split()[-3:] for line in text.splitlines() if "reached from outside" in line] == [
        ["yes", "no", "yes"]  # a load balancer's backend could be: Terway's pod, not VXLAN's
    ]
    tried = [line.split()[2:] for line in text.splitlines() if line.strip().startswith("client-")]
    assert tried == [[family, "answered", "web-from-client"] for family in ("IPv4", "IPv6")]
    dropped = [line for line in text.splitlines() if line.endswith("dropped   default-deny")]
    assert len(dropped) == 4  # of another web server and of another node, in both families
    assert "DENIED  shop/web-" in text
    assert "2 policies: the kernel enforces what they say" in text
    before, after = (
        next(line.split() for line in text.splitlines() if line.split()[:1] == [when])
        for when in ("before", "after")
    )
    assert before[1] != after[1]  # another node
    assert before[2:] == after[2:]  # the same address, MAC and ENI
    vault = [line.split()[-1] for line in text.splitlines() if "  vault  " in line]
    assert vault == ["answered", "dropped"]
    rolled = re.search(r" requests, 0 lost, (\d+) pods answered", text)
    assert rolled is not None, text
    assert int(rolled[1]) > 6  # of the old six and the new six; the last may have had no turn yet
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert leftovers(LabPaths(name="demo-once")) == []


def test_a_demo_that_is_kept_says_what_to_try_next_and_it_works() -> None:
    text = demo("--name", "demo-kept", "--keep")
    client = LabClient("demo-kept")
    try:
        tries = [line.split() for line in text.partition("Try:")[2].splitlines() if line.strip()]
        status = next(words[1:] for words in tries if words[1] == "status")
        shown = subprocess.run(
            [sys.executable, "-m", "terway.lab.cli", *status],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "shop/web-" in shown.stdout
    finally:
        assert client.down()
