"""Labs and nodes are listed under heads in 80 columns, and as JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from terway.lab import commands
from terway.lab.listing import node_lines
from terway.lab.world.paths import LabPaths

NODE = {
    "name": "node-1",
    "ready": False,
    "instance_id": "i-2zeaaaaaaaaaaaaaaaa1",
    "addresses": ["192.168.0.1", "2001:db8:1234:5678:9abc:def0:1234:5678"],
}


def test_each_address_of_a_node_is_whole_in_80_columns() -> None:
    lines = node_lines([NODE])

    assert lines[0].split() == ["NODE", "STATE", "INSTANCE", "ADDRESS"]
    assert lines[1].split() == ["node-1", "NotReady", NODE["instance_id"], "192.168.0.1"]
    assert lines[2].split() == ["2001:db8:1234:5678:9abc:def0:1234:5678"]
    assert lines[2].index("2001") == lines[1].index("192")
    assert max(map(len, lines)) <= 80


@pytest.fixture
def two_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labs = [LabPaths(name=name, root=tmp_path) for name in ("demo", "lab")]
    monkeypatch.setattr(commands, "sweep", list)
    monkeypatch.setattr(commands, "list_labs", lambda: labs)


@pytest.mark.usefixtures("two_labs")
def test_labs_are_listed_for_people_and_for_programs() -> None:
    shown = CliRunner().invoke(commands.cli, ["list"]).output.splitlines()
    listed = json.loads(CliRunner().invoke(commands.cli, ["list", "--json"]).output)

    assert shown[0].split() == ["LAB", "FOLDER"]
    assert [line.split()[0] for line in shown[1:]] == ["demo", "lab"]
    assert [one["name"] for one in listed] == ["demo", "lab"]


def test_no_lab_is_said_to_people_and_an_empty_list_to_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "sweep", list)
    monkeypatch.setattr(commands, "list_labs", list)

    assert "terway-lab up" in CliRunner().invoke(commands.cli, ["list"]).output
    assert json.loads(CliRunner().invoke(commands.cli, ["list", "--json"]).output) == []
