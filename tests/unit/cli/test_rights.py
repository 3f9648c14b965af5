"""A missing right is told with whose it is, for what, and what gives it."""

from __future__ import annotations

import pytest

from terway.cli.rights import missing_right
from terway.kube.errors import Status, translate
from terway.model.errors import VpcError

USER = "system:serviceaccount:kube-system:terway"


def refused(said: str, code: int = 403, reason: str = "Forbidden") -> VpcError:
    return translate(Status(code=code, reason=reason, message=said), tried="GET /x")


@pytest.mark.parametrize(
    ("asked", "right", "rule"),
    [
        (
            'list resource "events" in API group "" at the cluster scope',
            "list events:",
            '{apiGroups: [""], resources: [events], verbs: [list]}',
        ),
        (
            'create resource "pods/exec" in API group "" in the namespace "shop"',
            "create pods/exec in namespace shop:",
            '{apiGroups: [""], resources: [pods/exec], verbs: [create]}',
        ),
        (
            'get resource "daemonsets" in API group "apps" in the namespace "kube-system"',
            "get daemonsets.apps in namespace kube-system:",
            '{apiGroups: ["apps"], resources: [daemonsets], verbs: [get]}',
        ),
    ],
)
def test_a_missing_right_is_told_with_whose_and_the_rule_that_gives_it(asked, right, rule):
    told = missing_right(refused(f'x is forbidden: User "{USER}" cannot {asked}'), of="/a.conf")

    assert told.startswith(f"{USER} (of /a.conf) may not {right}")
    assert "--kubeconfig FILE or KUBECONFIG" in told
    assert told.endswith(rule)


@pytest.mark.parametrize(
    "error",
    [
        refused('pods "a" is forbidden: exceeded quota: small'),
        refused('User "x" cannot list resource "pods" in API group ""', 409, "Conflict"),
    ],
    ids=["admission", "no refusal of rights"],
)
def test_what_is_no_matter_of_rights_is_not_told_as_one(error):
    assert not missing_right(error, of="/a.conf")
