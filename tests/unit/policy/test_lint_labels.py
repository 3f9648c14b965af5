"""Selectors that ask for what no label can be are told, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from terway.policy.asking.lint_words import misleading
from terway.policy.policies import Direction
from terway.policy.reading.parse import parse_policy


def _findings(**spec: Any) -> list[Any]:
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }
    return [one for one in misleading([parse_policy(manifest)]) if one.code == "no-label"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("app", "two words"),
        ("app", "-web"),
        ("app", "x" * 64),
        ("app!", "web"),
        ("/app", "web"),
        ("Example.com/app", "web"),
        ("x" * 64, "web"),
    ],
)
def test_what_no_label_can_be_is_told(key: str, value: str) -> None:
    (found,) = _findings(podSelector={"matchLabels": {key: value}})

    assert repr(key) in found.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("app", ""), ("app.kubernetes.io/name", "Web_1.0"), ("a", "x" * 63), ("1", "1")],
)
def test_what_a_label_can_be_is_not_told(key: str, value: str) -> None:
    assert not _findings(podSelector={"matchLabels": {key: value}})


def test_a_peer_is_named_by_its_rule() -> None:
    rule = {"to": [{"namespaceSelector": {"matchLabels": {"team": "a b"}}}]}

    (found,) = _findings(podSelector={}, policyTypes=["Egress"], egress=[{}, rule])

    assert (found.direction, found.rule) == (Direction.EGRESS, 1)
