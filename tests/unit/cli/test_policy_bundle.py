"""What a support bundle has of policies: enough to answer anywhere, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from terway.cli.app import cli
from terway.cli.bundle import write_bundle
from terway.cli.bundle_file import SNAPSHOT_NAME
from terway.cli.codec import parse, plain
from terway.cli.policy_bundle import (
    OBJECTS_NAME,
    TABLES_NAME,
    bundle_objects,
    bundle_tables,
    failed_member,
    lean,
    objects_member,
    tables_member,
)
from terway.cli.policy_places import spots_of, wish_of
from terway.model.errors import TransientError
from terway.model.nft import Table
from terway.policy.cluster import Cluster
from terway.policy.nft.answers import on_paper
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Place
from terway.policy.reading.parse import parse_pod, parse_policy
from tests.support.snapshots import PODS, healthy

POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "default", "annotations": {"x": "hush-1"}},
    "spec": {
        "podSelector": {"matchLabels": {"app": "near"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
    },
}


def pod(name: str) -> dict[str, Any]:
    address = str(PODS[name].lease.addresses.v4)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app": name},
            "annotations": {"token": "hush-2"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web", "controller": True, "uid": "u"}
            ],
        },
        "spec": {
            "nodeName": healthy().node_name,
            "containers": [
                {
                    "name": "c",
                    "env": [{"name": "PASSWORD", "value": "hush-3"}],
                    "args": ["--key=hush-4"],
                    "ports": [{"name": "http", "containerPort": 80}],
                }
            ],
            "volumes": [{"name": "v", "secret": {"secretName": "hush-5"}}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


OBJECTS = [POLICY, *map(pod, PODS)]


def table() -> Table:
    """The table that the node of the snapshots has by these objects."""
    held = tuple(PODS.values())
    spot = spots_of(held)[0]
    pods = {one.key: one for one in (parse_pod(pod(name)) for name in PODS)}
    node = pods[next(iter(pods))].node
    assert node is not None
    wish = wish_of(Cluster(pods=pods), [parse_policy(POLICY)], held, node)
    return on_paper(Printer(Place.NODE).adopt(wish, spot.links, None))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "node.tar.gz"
    members = {
        SNAPSHOT_NAME: json.dumps(plain(healthy())).encode(),
        OBJECTS_NAME: objects_member(OBJECTS),
        TABLES_NAME: tables_member({"": table()}),
    }
    write_bundle(path, "node", members)
    return path


def ask(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, words)
    return result.exit_code, result.output


def test_no_secret_gets_in_and_policy_reads_the_same_of_what_does() -> None:
    kept = [lean(one) for one in OBJECTS]

    assert "hush" not in json.dumps(kept)
    for before, after in zip(OBJECTS[1:], kept[1:], strict=True):
        assert parse_pod(after) == parse_pod(before)
    assert parse_policy(kept[0]) == parse_policy(POLICY)
    assert kept[1]["metadata"]["ownerReferences"][0]["name"] == "web"


def test_a_table_is_the_same_after_it_was_written_and_read() -> None:
    made = table()

    assert parse(Table, json.loads(json.dumps(plain(made)))) == made


def test_verify_compares_the_tables_of_a_bundle(bundle: Path) -> None:
    code, text = ask("policy", "verify", "--bundle", str(bundle))

    assert code == 0
    assert "ok   the node: 1 pod restricted" in text


def test_verify_names_what_differs_in_a_bundle(bundle: Path) -> None:
    members = {
        SNAPSHOT_NAME: json.dumps(plain(healthy())).encode(),
        OBJECTS_NAME: objects_member(OBJECTS),
        TABLES_NAME: tables_member({"": None}),
    }
    write_bundle(bundle, "node", members)

    code, text = ask("policy", "verify", "--bundle", str(bundle))

    assert code == 1
    assert "there is no table of ours" in text


def test_why_names_the_policy_of_a_bundle(bundle: Path) -> None:
    code, text = ask("why", "a", "near:80", "--bundle", str(bundle))

    assert code == 1
    assert "Denied on ingress of default/near: NetworkPolicy" in text
    assert "it ends at: policies, verdict" in text


def test_eval_takes_a_bundle_for_its_cluster(bundle: Path) -> None:
    words = ("--from", "default/a", "--to", "default/near", "--port", "80")

    code, text = ask("policy", "eval", "-f", str(bundle), *words)

    assert code == 1
    assert "isolates the pod, and none of its rules matches" in text


def test_what_was_not_read_or_is_too_much_is_said(tmp_path: Path) -> None:
    path = tmp_path / "node.tar.gz"
    write_bundle(path, "node", {OBJECTS_NAME: failed_member(TransientError("no API server"))})

    with pytest.raises(TransientError, match="no API server"):
        list(bundle_objects(path))
    with pytest.raises(TransientError, match="older terway-cli"):
        bundle_tables(path)
