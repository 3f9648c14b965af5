"""What terway-lab says about faults: for people, for programs, and by its exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from terway.lab.commands import cli
from terway.lab.faults.generate import generate
from terway.lab.faults.schedule import dump_schedule

ORDINARY = "seed: 1\nlength_s: 5\nevents:\n- {do: add, at: 1.0, container: c, pod: p}\n"


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(cli, ["faults", *words])


def test_show_prints_the_schedule_of_a_seed(run):
    assert run("show", "7").output == dump_schedule(generate(7))


def test_replay_says_that_all_is_in_order(run, tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(ORDINARY)

    result = run("replay", str(path))

    assert result.exit_code == 0
    assert result.output.startswith("all is in order after")


def test_run_counts_for_programs(run):
    result = run("run", "--first", "0", "--count", "3", "--jobs", "1", "--json")

    said = json.loads(result.output)
    assert (result.exit_code, said["histories"], said["failed"]) == (0, 3, {})


def test_a_file_that_is_no_schedule_is_one_line(run, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("seed: 1\nlength_s: 5\nevents: [{do: nothing, at: 1}]\n")

    result = run("replay", str(path))

    assert result.exit_code == 1
    assert "nothing" in result.output
    assert "Traceback" not in result.output
