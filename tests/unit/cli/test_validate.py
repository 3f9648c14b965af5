"""validate says everything that is wrong with a configuration; scripts know by its exit code."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from terway.cli.app import cli

GOOD = {
    "eni_conf": '{"max_pool_size": 5}',
    "10-terway.conf": '{"type": "terway"}',
    "disable_network_policy": "true",
}


def run(*args):
    return CliRunner().invoke(cli, ["validate", *map(str, args)])


@pytest.fixture
def folder(tmp_path):
    def write(**changes):
        for name, text in {**GOOD, **changes}.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_a_right_folder_is_right(folder):
    ran = run(folder())

    assert (ran.exit_code, ran.output) == (0, "right\n")


def test_all_that_is_wrong_is_said(folder):
    ran = run(folder(eni_conf='{"max_pool": 1, "min_eni": -1}'))

    assert ran.exit_code == 1
    assert "x eni_conf.max_pool is not a key of it: did you mean" in ran.output
    assert "x eni_conf.min_eni is -1" in ran.output
    assert ran.output.endswith("2 to mend, 0 to know\n")
    assert all(len(line) <= 80 for line in ran.output.splitlines())


def test_cautions_are_findings_when_asked_for(folder):
    path = folder(eni_conf='{"prefix": "x"}')

    assert run(path).exit_code == 0
    assert run(path, "--strict").exit_code == 1


def test_an_unknown_key_is_told_to_programs_with_value_rule_nearest_key_and_remedy(folder):
    ran = run(folder(eni_conf='{"foo": {"a": 1}, "max_pool_sise": 7, "prefix": "x"}'), "--json")

    assert json.loads(ran.output) == {
        "refusals": [
            {
                "field": "eni_conf.foo",
                "found": '{"a":1}',
                "rule": "no such key",
                "remedy": "remove it",
            },
            {
                "field": "eni_conf.max_pool_sise",
                "found": "7",
                "rule": "no such key; the nearest is max_pool_size",
                "remedy": "did you mean max_pool_size?",
            },
        ],
        "cautions": [
            {"field": "eni_conf.prefix", "text": "nothing ever read it: remove it"},
        ],
    }


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[9]", "[9]"),
        ("9" * 30, "9" * 30),
        (r'"\ud800"', r"'\ud800'"),
        ('{"a":' * 300 + "1" + "}" * 300, '{"a":' * 15 + '{"…'),
    ],
)
def test_an_unknown_key_may_have_any_value(folder, value, found):
    ran = run(folder(eni_conf=f'{{"foo": {value}}}'), "--json")

    assert ran.exit_code == 1
    assert json.loads(ran.output)["refusals"][0]["found"] == found


def test_a_secret_under_a_misspelt_key_is_not_shown(folder):
    ran = run(folder(eni_conf='{"acces_secret": "hidden"}'), "--json")

    assert json.loads(ran.output)["refusals"][0]["remedy"] == "did you mean access_secret?"
    assert "hidden" not in ran.output


def test_a_manifest_of_the_config_map_is_read(tmp_path):
    manifest = tmp_path / "eni-config.yaml"
    other = {"kind": "Namespace", "apiVersion": "v1"}
    config = {"kind": "ConfigMap", "data": {**GOOD, "eni_conf": '{"ip_stack": "v4"}'}}
    manifest.write_text(yaml.safe_dump_all([other, config]))

    ran = run(manifest, "--json")

    assert ran.exit_code == 1
    assert json.loads(ran.output)["refusals"] == [
        {"field": "eni_conf.ip_stack", "found": '"v4"', "rule": "must be one of ipv4, ipv6, dual"}
    ]


def test_an_eni_conf_alone_is_checked_with_a_nodes_own_part(tmp_path):
    base, own = tmp_path / "base.json", tmp_path / "own.json"
    base.write_text('{"min_pool_size": 6, "max_pool_size": 9}')
    own.write_text('{"max_pool_size": 5}')

    assert run(base).exit_code == 0
    ran = run(base, "--patch", own)

    assert ran.exit_code == 1
    assert "must be at most max_pool_size, 5" in ran.output


def test_broken_json_is_told_by_line_and_column(tmp_path):
    path = tmp_path / "eni_conf"
    path.write_text('{"min_eni": 1,\n}')

    ran = run(path)

    assert ran.exit_code == 1
    assert "line 2 column 1" in " ".join(ran.output.split())


def test_a_schema_is_printed():
    assert json.loads(run("--schema", "eni_conf").output)["title"] == "Main settings of Terway"


def test_a_file_that_is_not_utf8_is_refused_with_its_path(folder):
    path = folder() / "eni_conf"
    path.write_bytes(b'{"min_eni": "\xff"}')

    for asked in (path, path.parent):
        ran = run(asked)
        assert ran.exit_code == 2
        assert ran.output == f"terway-cli: {path} is not text in UTF-8: byte 13 is 0xff\n"


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("kind: Pod\nmetadata: {name: a}\n", "it holds Pod"),
        ('{"kind": "Pod", "apiVersion": "v1"}', "it holds Pod"),
        ("a: 1\n", "it is not a JSON object either"),
        ("", "it is not a JSON object either"),
    ],
)
def test_what_is_something_else_is_refused(tmp_path, text, held):
    path = tmp_path / "x.yaml"
    path.write_text(text)

    ran = run(path)

    expected = f"terway-cli: {path} is not a ConfigMap eni-config: {held}\n"
    assert (ran.exit_code, ran.output) == (2, expected)


def test_the_config_map_with_an_eni_conf_is_taken_of_several(tmp_path):
    path = tmp_path / "all.yaml"
    other = {"kind": "ConfigMap", "data": None}
    path.write_text(yaml.safe_dump_all([other, {"kind": "ConfigMap", "data": GOOD}]))

    assert run(path).output == "right\n"


def test_an_eni_conf_alone_is_not_asked_what_only_the_config_map_says(tmp_path):
    path = tmp_path / "eni_conf"
    path.write_text('{"max_pool_size": 5}')

    assert run(path, "--strict").output == "right\n"


def test_values_of_the_chart_are_checked_without_anybody_else(tmp_path, monkeypatch):
    for name in ("KUBECONFIG", "ALIBABA_CLOUD_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    values = tmp_path / "values.yaml"
    values.write_text("clusterID: c\nvpcID: vpc-1\n")

    right = run("--values", values, "--instance-type", "ecs.g7.xlarge")
    wrong = run("--values", values, "--set", "pool.minSize=9", "--set", "mode=both", "--json")
    unreadable = run("--set", "pool.maxSize")

    assert right.exit_code == 0
    assert "? not asked: the cloud: set ALIBABA_CLOUD_ACCESS_KEY_ID" in right.output
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["refusals"] == [
        {"field": "values.mode", "found": '"both"', "rule": "must be one of shared, exclusive"}
    ]
    assert unreadable.exit_code == 2
    assert "write NAME=VALUE, as pool.maxSize=10" in unreadable.output
