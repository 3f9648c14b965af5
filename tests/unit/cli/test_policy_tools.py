"""terway-cli policy on manifests: verdicts, differences, expectations, findings, by exit code."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terway.cli.app import cli
from terway.cli.exits import FOUND, OK, USAGE

SHOP = """
kind: List
apiVersion: v1
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: sales}}}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop}
    spec:
      replicas: 3
      template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}
  - apiVersion: v1
    kind: Pod
    metadata: {name: db, namespace: shop, labels: {app: db}}
    spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
    status: {podIP: 10.0.0.7}
  - {apiVersion: v1, kind: Pod, metadata: {name: spy, namespace: other}, spec: {}}
  - {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}
"""
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: PORT}]
"""

TWO_NODES = """
kind: List
apiVersion: v1
items:
  - apiVersion: v1
    kind: Node
    metadata: {name: one}
    status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
  - apiVersion: v1
    kind: Node
    metadata: {name: two}
    status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {app: web}}
    spec: {nodeName: one}
    status: {podIPs: [{ip: 10.0.0.1}, {ip: fd00::1}]}
  - apiVersion: v1
    kind: Pod
    metadata: {name: db}
    spec: {nodeName: two}
    status: {podIPs: [{ip: 10.0.0.2}, {ip: fd00::2}]}
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: web}
    spec:
      podSelector: {matchLabels: {app: web}}
      policyTypes: [Egress]
      egress:
        - to: [{ipBlock: {cidr: 10.0.0.0/8}}]
          ports: [{port: 80}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "policy.yaml").write_text(CLOSED.replace("PORT", "sql"))
    return tmp_path


def run(*words: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["policy", *map(str, words)], input=stdin)


def ask(folder: Path, source: str, *more: str) -> Result:
    return run("eval", "-f", folder, "--from", source, "--to", "shop/db", *more)


def test_eval_names_the_rule_that_allows_and_the_policy_that_denies(folder: Path) -> None:
    allowed = ask(folder, "shop/web-0", "--port", "5432")
    denied = ask(folder, "other/spy", "--port", "5432", "--json")

    assert (allowed.exit_code, denied.exit_code) == (OK, FOUND)
    assert "rule ingress[0] of NetworkPolicy" in allowed.output
    said = json.loads(denied.stdout)
    assert (said["verdict"], said["ingress"]["policy"]) == ("deny", "NetworkPolicy shop/db")


def test_what_was_made_up_or_passed_over_is_said_beside_the_answer(folder: Path) -> None:
    result = ask(folder, "shop/web-0", "--port", "5432")

    assert "1 Widget" in result.stderr
    assert "2 pods stand for the workloads" in result.stderr
    assert "note" not in result.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--from", "shop/web-0", "--to", "shop/db"], "--port is missing"),
        (["--to", "shop/db", "--port", "80"], "--from is missing"),
        (["--from", "web", "--to", "shop/db", "--port", "80"], "namespace/pod"),
        (["--from", "shop/nobody", "--to", "shop/db", "--port", "80"], "not in the cluster"),
    ],
)
def test_a_question_that_means_nothing_is_refused_with_a_remedy(
    folder: Path, words: list[str], text: str
) -> None:
    result = run("eval", "-f", folder, *words)

    assert result.exit_code == USAGE
    assert text in result.stderr


@pytest.mark.parametrize("text", ["a: [", "just words", "{", "kind: NetworkPolicy\nmetadata: {}"])
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)

    result = run("lint", "-f", tmp_path / "bad.yaml")

    assert result.exit_code == USAGE
    assert "bad.yaml" in result.stderr


def test_a_policy_that_cannot_be_read_whole_is_closed_and_named(folder: Path) -> None:
    (folder / "policy.yaml").write_text(CLOSED.replace("port: PORT", "port: 80, endPort: 7"))

    result = ask(folder, "shop/web-0", "--port", "5432")

    assert result.exit_code == FOUND
    assert "policy.yaml" in result.stderr
    assert "closed" in result.stderr


def test_standard_input_is_a_source_like_any_other(folder: Path) -> None:
    result = run(
        "eval", "-f", folder / "shop.yaml", "-f", "-", "--from", "other/spy", "--to", "shop/db",
        "--port", "80", stdin=CLOSED.replace("PORT", "80"),
    )  # fmt: skip

    assert result.exit_code == FOUND


CASE = {
    "name": "two states",
    "namespaces": [{"name": "x"}],
    "pods": [
        {"ns": "x", "name": name, "labels": {"app": name}, "ip": f"10.0.0.{at}"}
        for at, name in enumerate(("a", "b"), start=1)
    ],
    "steps": [
        {
            "label": "open",
            "policies": [],
            "probes": [
                {"from": "x/a", "to": "x/b", "port": 80, "protocol": "TCP"},
                {"from": "x/a", "to": "x/nobody", "port": 80, "protocol": "TCP"},
            ],
        },
        {
            "label": "closed",
            "policies": [
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": "p", "namespace": "x"},
                    "spec": {"podSelector": {"matchLabels": {"app": "b"}}},
                }
            ],
            "matrices": [
                {"port": 80, "protocol": "TCP", "pods": ["x/a", "x/b"], "rows": ["..", ".-"]}
            ],
        },
    ],
}


@pytest.mark.parametrize("through", ["model", "nft"])
def test_a_batch_is_answered_line_by_line_in_the_form_of_its_cases(
    tmp_path: Path, through: str
) -> None:
    file = tmp_path / "cases.jsonl.gz"
    file.write_bytes(gzip.compress((json.dumps(CASE) + "\n\n" + json.dumps(CASE) + "\n").encode()))

    result = run("eval", "--batch", file, "--through", through)

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == OK
    assert len(lines) == 2
    assert set(lines[0]) == {"name", "states"}
    first, second = lines[0]["states"]
    assert set(first) == {"label", "verdicts", "matrices"}
    assert first["verdicts"][0] == "allow"
    assert first["verdicts"][1].startswith("error: ")
    assert second["matrices"] == [[".X", ".-"]]


def test_a_line_that_is_no_case_is_answered_by_its_number_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    good = json.dumps(CASE)
    (tmp_path / "cases.jsonl").write_text(f"{good}\n[]\nno JSON\n{good}\n")

    result = run("eval", "--batch", tmp_path / "cases.jsonl")

    first, second, third, fourth = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == USAGE
    assert first == fourth
    assert second["name"] == "line 2"
    assert set(third) == {"name", "error"}
    assert "line 3: no case" in result.stderr


@pytest.mark.parametrize(
    "mixed",
    [("--from", "a/b"), ("--port", "80"), ("-f", "x.yaml"), ("--protocol", "tcp"), ("--via", "x")],
)
def test_what_a_batch_would_ignore_is_refused_by_name(
    tmp_path: Path, mixed: tuple[str, ...]
) -> None:
    (tmp_path / "cases.jsonl").write_text(json.dumps(CASE))

    result = run("eval", "--batch", tmp_path / "cases.jsonl", *mixed)

    assert result.exit_code == USAGE
    assert f"{mixed[0]} has no meaning with --batch" in result.stderr
    assert not result.stdout


def test_a_way_through_is_about_a_batch(folder: Path) -> None:
    result = run("eval", "-f", folder, "--through", "nft")

    assert result.exit_code == USAGE
    assert "--batch" in result.stderr


def test_diff_is_exact_and_shows_a_packet_with_both_verdicts(folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new/policy.yaml").write_text(CLOSED.replace("PORT", "5433"))
    before, after = folder / "policy.yaml", folder / "new"

    result = run("diff", "-f", folder / "shop.yaml", before, after, "--json")

    found = {one["becomes"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == FOUND
    assert found["allow"]["ports"] == [{"protocol": "TCP", "first": 5433, "last": 5433}]
    assert found["deny"]["ports"] == [{"protocol": "TCP", "first": 5432, "last": 5432}]
    assert {end["pod"] for end in found["deny"]["from"]} == {"shop/web-0", "shop/web-1"}
    assert "isolates the pod" in found["deny"]["packet"]["B"]


def test_equal_holds_for_the_pods_there_are_or_for_any(folder: Path) -> None:
    (folder / "number.yaml").write_text(CLOSED.replace("PORT", "5432"))
    pair = (folder / "policy.yaml", folder / "number.yaml")

    here = run("equal", "-f", folder / "shop.yaml", *pair)
    anywhere = run("equal", *pair)

    assert (here.exit_code, anywhere.exit_code) == (OK, FOUND)
    assert "in this cluster of 4 pods" in here.stdout
    assert "not equal, in any cluster" in anywhere.stdout


EXPECTED = """
must-reach:
  - {from: shop/web-*, to: shop/db, ports: [TCP/5432], why: orders}
must-not-reach:
  - {from: outside, to: {namespace: shop, podSelector: {matchLabels: {app: db}}}}
  - {from: other/spy, to: shop/db, ports: [TCP]}
"""


def test_check_is_silent_of_nothing_that_is_not_met(folder: Path) -> None:
    (folder / "must").write_text(EXPECTED)
    met = run("check", "-f", folder, folder / "must")
    (folder / "policy.yaml").unlink()

    broken = run("check", "-f", folder, folder / "must")

    assert (met.exit_code, broken.exit_code) == (OK, FOUND)
    assert "3 of 3 expectations met" in met.stdout
    assert broken.stdout.count("FAIL") == 2
    assert "must-not-reach[0]" in broken.stdout


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("must-rech: []", "must-rech"),
        ("must-reach: [{from: a/b, to: c/d}]", "must-reach[0].ports"),
        ("must-reach: [{from: a, to: c/d, ports: all}]", "must-reach[0].from"),
        ("must-reach: [{from: a/b, to: c/d, ports: [TCP/9-8]}]", "must-reach[0].ports[0]"),
        ("must-not-reach: [{from: 'ip:10.0.0.1/8', to: c/d}]", "must-not-reach[0].from"),
        ("must-not-reach: [{from: {name: x}, to: c/d}]", "must-not-reach[0].from.name"),
    ],
)
def test_an_expectation_that_is_misspelt_is_refused_by_its_field(
    folder: Path, text: str, field: str
) -> None:
    (folder / "must").write_text(text)

    result = run("check", "-f", folder, folder / "must")

    assert result.exit_code == USAGE
    assert field in result.stderr


def test_an_expectation_about_nobody_fails_unless_it_may(folder: Path) -> None:
    (folder / "must").write_text("must-not-reach: [{from: x/y, to: shop/db}]")
    nobody = run("check", "-f", folder, folder / "must")
    (folder / "must").write_text("must-not-reach: [{from: x/y, to: shop/db, may-be-empty: true}]")

    assert nobody.exit_code == FOUND
    assert run("check", "-f", folder, folder / "must").exit_code == OK


ODD = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: odd, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {}}]}, {from: [{podSelector: {matchLabels: {app: db}}}]}]
  egress: [{to: [{ipBlock: {cidr: 10.96.0.0/12}}], ports: [{port: nope}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec: {podSelector: {matchLabels: {app: none}}, ingress: [{}]}
---
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {clusterIP: 10.96.0.9}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: one}
spec:
  {tier: Admin, priority: 5, subject: {namespaces: {}},
  ingress: [{action: Pass, from: [{namespaces: {}}]}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: two}
spec:
  {tier: Admin, priority: 5, subject: {namespaces: {}},
  egress: [{action: Accept, to: [{domainNames: [a.example]}]}]}
"""


def test_lint_tells_every_error_of_a_manifest(folder: Path) -> None:
    misspelt = CLOSED.replace("[{podSelector", "[{poodSelector").replace("PORT", "0")
    (folder / "bad.yaml").write_text(misspelt)

    result = run("lint", "-f", folder / "bad.yaml", "--json")

    texts = [one["text"] for one in json.loads(result.stdout) if one["code"] == "closed"]
    assert result.exit_code == FOUND
    assert len(texts) == 2
    assert "from[0].poodSelector" in texts[0]
    assert "ports[0].port" in texts[1]


def test_lint_tells_each_trap_by_policy_rule_and_remedy(folder: Path) -> None:
    (folder / "odd.yaml").write_text(ODD)

    result = run("lint", "-f", folder, "--json")

    found = {
        (one["policy"].split("/")[-1], one["code"], one["rule"])
        for one in json.loads(result.stdout)
    }
    assert result.exit_code == FOUND
    assert found >= {
        ("odd", "shadowed-rule", 1),
        ("odd", "no-dns", None),
        ("odd", "unknown-port-name", 0),
        ("odd", "block-has-services", 0),
        ("nobody", "selects-nobody", None),
        ("nobody", "allows-everything", 0),
        ("ClusterNetworkPolicy one", "equal-priority", None),
        ("ClusterNetworkPolicy two", "closed", None),
    }
    assert all(one["remedy"] for one in json.loads(result.stdout))


def test_explain_reads_a_policy_aloud_and_adds_all_up_at_a_pod(folder: Path) -> None:
    policy = run("explain", "-f", folder, "shop/db")
    pod = run("explain", "-f", folder, "pod:shop/db", "--json")

    assert "from pods with app=web of namespace shop, on TCP port named 'sql'" in " ".join(
        policy.stdout.split()
    )
    into, _ = json.loads(pod.stdout)
    reached = {other: one["ports"] for one in into["reaches"] for other in one["others"]}
    assert reached["shop/web-0"] == "TCP 5432"
    assert reached["other/spy"] == "nothing"


def test_explain_tells_a_pods_own_node_from_others_and_the_family_where_it_matters(
    tmp_path: Path,
) -> None:
    (tmp_path / "all.yaml").write_text(TWO_NODES)

    told = " ".join(run("explain", "-f", tmp_path, "pod:default/web").stdout.split())

    assert "to node one (192.168.0.1): every port of every protocol" in told
    assert "to default/db (IPv4), outside 10.0.0.0" in told
    assert "to default/db (IPv6), node two (192.168.0.2), outside" in told


def test_matrix_folds_who_is_alike(folder: Path) -> None:
    folded = run("matrix", "-f", folder, "--port", "TCP/5432")
    pairs = run("matrix", "-f", folder, "--by", "namespace", "--json")

    assert "shop/web-0, shop/web-1" in folded.stdout
    said = json.loads(pairs.stdout)
    place = {name: at for at, names in enumerate(said["members"]) for name in names}
    cells = {(one["from"], one["to"]): one for one in said["cells"]}
    to_shop = cells[place["namespace other"], place["namespace shop"]]
    assert (to_shop["all"], to_shop["any"]) == ("nothing", "every port of every protocol")


@pytest.mark.parametrize("words", [["matrix"], ["explain"], ["lint"], ["check", "must"]])
def test_lines_are_at_most_80_columns_wide(folder: Path, words: list[str]) -> None:
    (folder / "odd.yaml").write_text(ODD)
    (folder / "must").write_text(EXPECTED)
    words = [str(folder / one) if one == "must" else one for one in words]

    result = run(*words, "-f", folder)

    assert result.stdout
    assert all(len(line) <= 80 or " " not in line.strip() for line in result.stdout.splitlines())
