"""capacity shows pods and arithmetic, says where its limits are from, and tells scripts by code."""

from __future__ import annotations

import json

from click.testing import CliRunner

from terway.cli.app import cli


def run(*args):
    return CliRunner().invoke(cli, ["capacity", "--offline", *args])


def test_a_type_is_shown_with_its_modes_in_80_columns():
    ran = run("ecs.g7.xlarge")

    assert ran.exit_code == 0
    assert "shared ENI" in ran.output
    assert "(4 - 1) x 15 addresses" in ran.output
    assert "limits from the published table" in ran.output
    assert all(len(line) <= 80 for line in ran.output.splitlines())


def test_json_has_the_limits_and_where_they_are_from():
    found = json.loads(run("ecs.g7.xlarge", "--json", "--max-eni", "1").output)

    assert found["source"].startswith("the published table")
    assert found["limits"]["ecs.g7.xlarge"]["eni_quantity"] == 4
    assert found["capacities"]["ecs.g7.xlarge"][0]["pods"] == 15


def test_a_type_that_is_too_small_is_exit_code_1():
    assert run("ecs.g7.xlarge", "--ratio", "0.1").exit_code == 1


def test_an_unknown_type_is_a_wrong_use_with_a_hint():
    ran = run("ecs.g7.xlargee")

    assert ran.exit_code == 2
    assert "did you mean ecs.g7.xlarge" in ran.output


def test_a_search_names_the_types_that_hold_so_many():
    found = json.loads(run("--need", "100", "--family", "ecs.g7", "--json").output)

    assert found["capacities"]
    assert all(modes[0]["pods"] >= 100 for modes in found["capacities"].values())
