"""What cannot be read closes alike at nodes, in the model, and in the rules of nftables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from terway.cli.app import cli
from terway.model.errors import UsageError
from terway.policy.policies import ClusterPolicy, NetworkPolicy
from terway.policy.reading.closing import parse_or_close

ODD = {"matchExpressions": [{"key": "app", "operator": "Near", "values": ["x"]}]}
CLOSING: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "odd", "namespace": "x", "generation": 3},
    "spec": {"podSelector": ODD, "ingress": [{}], "policyTypes": ["Ingress"]},
}
VOID: dict[str, Any] = {
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "odd"},
    "spec": {
        "tier": "Admin",
        "priority": 5,
        "subject": {"namespaces": ODD},
        "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}],
    },
}


@pytest.mark.parametrize("through", ["model", "nft"])
def test_a_policy_of_which_nobody_knows_whom_it_selects_closes_its_namespace(
    tmp_path: Path, through: str
):
    case = {
        "name": "odd",
        "namespaces": [{"name": "x"}, {"name": "y"}],
        "pods": [
            {"ns": space, "name": name, "ip": f"10.0.{block}.{at}"}
            for block, space in enumerate("xy")
            for at, name in enumerate("ab", start=1)
        ],
        "policies": [CLOSING, VOID],
        "probes": [
            {"from": source, "to": to, "port": 80, "protocol": "TCP"}
            for source, to in (("x/a", "y/a"), ("y/a", "x/a"), ("y/a", "y/b"))
        ],
    }
    (tmp_path / "cases").write_text(json.dumps(case))
    words = ["policy", "eval", "--batch", str(tmp_path / "cases"), "--through", through]

    answer = json.loads(CliRunner().invoke(cli, words).stdout)

    assert answer["states"][0]["verdicts"] == ["deny", "deny", "allow"]


def test_what_is_known_of_an_unreadable_policy_is_kept():
    closing, void = parse_or_close(CLOSING), parse_or_close(VOID)

    assert isinstance(closing, NetworkPolicy)
    assert isinstance(void, ClusterPolicy)
    assert (closing.key.namespace, closing.generation) == ("x", 3)
    assert "Near" in closing.fault
    assert "Near" in void.fault
    assert (void.ingress, void.egress) == ((), ())


@pytest.mark.parametrize(
    "change", [{"kind": "Pod"}, {"apiVersion": "v9"}, {"metadata": {"namespace": "x"}}]
)
def test_what_is_no_policy_or_has_no_name_is_refused(change: dict[str, Any]):
    with pytest.raises(UsageError):
        parse_or_close({**CLOSING, **change})
