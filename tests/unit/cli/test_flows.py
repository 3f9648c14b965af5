"""terway-cli flows and policy whatif on files: what a person and a program read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from terway.cli.app import cli
from terway.cli.flows_text import Tally
from terway.cli.table import WIDTH
from terway.policy.cluster import PodKey
from terway.policy.records.recorded import line_of
from tests.unit.policy.test_recorded import DENIED, LOST, PING

ALLOWED = replace(DENIED, is_allowed=True, sides=(), count=3)
LONG_NAME = PodKey(namespace="web", name="a-deployment-with-a-long-name-5d8f7b9c-x")
LONG = replace(DENIED, source=replace(DENIED.source, pod=LONG_NAME))
LOCKED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: db}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
OPEN = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop-to-sql, namespace: db}
spec:
  podSelector: {}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: a}}}]
    ports: [{port: sql}, {port: 9104}]
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def flows(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_text("".join(f"{line_of(one)}\n" for one in (DENIED, PING, LOST, ALLOWED)))
    return path


def test_a_record_is_a_line_for_a_program(flows):
    done = run("flows", "--file", str(flows), "--json")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == flows.read_text().splitlines()


def test_a_person_reads_who_whom_and_why_in_80_columns(flows):
    flows.write_text(flows.read_text() + line_of(LONG) + "\n")
    done = run("flows", "--file", str(flows))
    assert done.exit_code == 0
    assert "DENIED  web/shop-5d8f7b9c-x2x4z -> db/mysql-0:3306 TCP x12" in done.output.replace(
        "\n  ", " "
    )
    assert "NetworkPolicy db/only-app isolates the pod" in done.output
    assert "7 packets were lost" in done.output
    assert "ICMPv6 echo (1 in 10)" in done.output.replace("\n ", "")
    assert all(len(line) <= WIDTH for line in done.output.splitlines())


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--verdict", "denied"), 1),
        (("--policy", "only-app"), 1),
        (("--from", "shop", "--to", "mysql"), 2),
        (("--namespace", "db", "--port", "22"), 0),
        (("--last", "1"), 1),
    ],
)
def test_filters_are_those_of_the_live_log(flows, words, count):
    done = run("flows", "--file", str(flows), "--json", *words)
    assert sum('"verdict"' in line for line in done.stdout.splitlines()) == count


def test_records_are_written_for_their_owner_alone(flows, tmp_path):
    copy = tmp_path / "copy.jsonl"
    assert run("flows", "--file", str(flows), "--write", str(copy)).exit_code == 0
    assert copy.read_text() == flows.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_is_refused_with_its_line(tmp_path):
    path = tmp_path / "flows.jsonl"
    path.write_text(f"{line_of(DENIED)}\nhello\n")
    done = run("flows", "--file", str(path))
    assert done.exit_code == 2
    assert f"{path} line 2" in done.output


def test_without_terwayd_it_says_so(tmp_path):
    done = run("flows", "--root", str(tmp_path), "--last", "3")
    assert done.exit_code == 3
    assert "terwayd does not answer" in done.output


def test_whatif_says_what_would_be_denied_how_often_and_whose(flows, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(LOCKED)
    done = run("policy", "whatif", str(plan), "--flows", str(flows), "--json")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    (denied,) = answer["newly_denied"]
    assert (denied["source_owner"], denied["destination_owner"], denied["count"]) == (
        "web: Deployment shop",
        "db: StatefulSet mysql",
        3,
    )
    assert "db/nobody" in denied["why"]
    assert answer["newly_allowed"] == []
    assert answer["lost"] == 7
    assert answer["unchanged"] == 1


def test_whatif_says_what_would_be_allowed_and_what_nobody_was_seen_to_do(flows, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(OPEN)
    done = run("policy", "whatif", str(plan), "--flows", str(flows), "--json")
    answer = json.loads(done.stdout)
    (allowed,) = answer["newly_allowed"]
    assert (allowed["port"], allowed["count"]) == (3306, 12)
    to_mysql = [
        one["ports"] for one in answer["unseen"] if "db: StatefulSet mysql" in one["destinations"]
    ]
    assert to_mysql == [[["TCP", 9104, 9104]]]


def test_whatif_knows_whose_pods_are_by_the_manifests_that_have_them(flows, tmp_path):
    plan = tmp_path / "plan.yaml"
    owner = "[{kind: Rollout, name: mysql-by-hand, controller: true}]"
    pod = f"""
---
{{kind: Pod, apiVersion: v1, metadata: {{name: mysql-0, namespace: db, ownerReferences: {owner}}}}}
"""
    plan.write_text(LOCKED + pod)
    done = run("policy", "whatif", str(plan), "--flows", str(flows), "--json")
    (denied,) = json.loads(done.stdout)["newly_denied"]
    assert denied["destination_owner"] == "db: Rollout mysql-by-hand"


def test_whatif_for_a_person_fits_and_compares_with_today(flows, tmp_path):
    plan, now = tmp_path / "plan.yaml", tmp_path / "now.yaml"
    plan.write_text(OPEN)
    now.write_text(OPEN)
    done = run("policy", "whatif", str(plan), "--flows", str(flows), "--now", str(now))
    assert done.exit_code == 1
    assert "newly allowed: 1 flow, 12 connections" in done.output
    assert "(so today, too)" in done.output.replace("\n    ", " ")
    assert "never seen, but possible: 0 kinds" in done.output
    assert all(len(line) <= WIDTH for line in done.output.splitlines())


def test_records_and_the_connections_in_them_are_told_apart() -> None:
    tally = Tally(records=3, allowed=1, denied=4)

    assert tally.words.startswith("3 records of 5 connections: 4 denied, 1 allowed; ")
    assert Tally(records=1, denied=1).words.startswith("1 record: 1 denied, 0 allowed; ")
