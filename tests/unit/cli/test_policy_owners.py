"""Whose pods are: by what the manifests refer to, as far up as they go."""

from __future__ import annotations

from typing import Any

import pytest

from terway.cli.policy_objects import manifests_of
from terway.cli.policy_owners import owners_of
from terway.cli.policy_read import Found
from terway.policy.cluster import PodKey

WEB = PodKey(namespace="shop", name="web-7f9-abc")


def made(kind: str, name: str, *, by: str = "", **more: Any) -> Found:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", **more}
    if by:
        of_kind, _, owner = by.partition(" ")
        metadata["ownerReferences"] = [{"kind": of_kind, "name": owner, "controller": True}]
    return Found(raw={"apiVersion": "v1", "kind": kind, "metadata": metadata}, origin="a test")


LABELS = {"pod-template-hash": "7f9"}


@pytest.mark.parametrize(
    ("pod", "others", "owner"),
    [
        (made("Pod", WEB.name, by="StatefulSet db"), [], "StatefulSet db"),
        (made("Pod", WEB.name, by="ReplicaSet web-7f9", labels=LABELS), [], "Deployment web"),
        (made("Pod", WEB.name, by="ReplicaSet alone"), [], "ReplicaSet alone"),
        (
            made("Pod", WEB.name, by="ReplicaSet odd"),
            [made("ReplicaSet", "odd", by="Rollout web")],
            "Rollout web",
        ),
        (
            made("Pod", WEB.name, by="Job backup-1"),
            [made("Job", "backup-1", by="CronJob backup")],
            "CronJob backup",
        ),
    ],
)
def test_a_pod_is_of_who_made_it(pod: Found, others: list[Found], owner: str) -> None:
    assert owners_of([*others, pod]) == {WEB: owner}


def test_a_pod_that_nobody_made_and_a_circle_of_references_are_borne() -> None:
    assert owners_of([made("Pod", "alone")]) == {}
    circle = [made("Job", "a", by="Job b"), made("Job", "b", by="Job a")]
    assert owners_of([*circle, made("Pod", WEB.name, by="Job a")])[WEB].startswith("Job ")


def test_pods_that_stand_for_a_workload_are_of_it() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {}}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "template": template},
    }

    found = manifests_of([Found(raw=deployment, origin="a test")])

    assert set(found.owners.values()) == {"Deployment web"}
    assert set(found.owners) == set(found.cluster.pods)
