"""What terway-cli cannot do, it says in a line, with the exit code that the help names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terway.cli.app import cli
from terway.cli.bundle import write_bundle
from terway.cli.codec import plain
from terway.cli.snapshot import JournalView, Snapshot
from terway.cli.source import SNAPSHOT_NAME
from tests.support.snapshots import PODS, healthy


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in words])


def bundle_of(snapshot: Snapshot, folder: Path) -> Path:
    path = folder / "b.tar.gz"
    write_bundle(path, "b", {SNAPSHOT_NAME: json.dumps(plain(snapshot)).encode()})
    return path


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_bundle_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = bundle_of(healthy(), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])

    ran = run("show", "--bundle", path)

    assert ran.exit_code == 2
    assert "cut off or damaged" in ran.output
    assert "Aborted" not in ran.output


def test_a_pod_cannot_be_looked_for_without_a_journal(tmp_path: Path) -> None:
    ran = run("why", "a", "near", "--bundle", bundle_of(replace(healthy(), journal=None), tmp_path))

    assert (ran.exit_code, ran.output) == (3, "terway-cli: journal: it was not read\n")


def test_pods_of_the_node_are_named_once_each_when_one_is_not_there(tmp_path: Path) -> None:
    second = replace(PODS["a"], key=replace(PODS["a"].key, ifname="net1"))
    journal = JournalView(attachments=(*PODS.values(), second))

    ran = run(
        "why", "x", "near", "--bundle", bundle_of(replace(healthy(), journal=journal), tmp_path)
    )

    text = "terway-cli: no pod x on this node; there are: default/a, default/near\n"
    assert (ran.exit_code, ran.output) == (2, text)
