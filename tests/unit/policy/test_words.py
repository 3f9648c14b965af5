"""A verdict is told in a sentence that names side, policy and rule."""

from __future__ import annotations

import pytest

from terway.policy.cluster import PodKey
from terway.policy.flow import Because, Judgement, Verdict
from terway.policy.policies import Direction, Kind, PolicyKey
from terway.policy.words import describe, describe_judgement

POD = PodKey(namespace="shop", name="web")
DENY_ALL = PolicyKey(kind=Kind.NETWORK, namespace="shop", name="deny-all")
GUARD = PolicyKey(kind=Kind.CLUSTER, name="guard")


def _says(
    is_allowed: bool,
    because: Because,
    policy: PolicyKey | None = None,
    rule: int | None = None,
    name: str = "",
    *,
    direction: Direction = Direction.INGRESS,
    isolating: int = 0,
) -> Judgement:
    return Judgement(
        direction=direction,
        pod=POD,
        is_allowed=is_allowed,
        because=because,
        policy=policy,
        rule=rule,
        rule_name=name,
        isolating=isolating,
    )


@pytest.mark.parametrize(
    ("judgement", "text"),
    [
        (
            _says(False, Because.ISOLATED, DENY_ALL, isolating=3),
            (
                "denied on ingress of shop/web: NetworkPolicy shop/deny-all isolates the pod, "
                "and no rule of the 3 policies that select it matches"
            ),
        ),
        (
            _says(False, Because.ISOLATED, DENY_ALL, isolating=1),
            (
                "denied on ingress of shop/web: NetworkPolicy shop/deny-all isolates the pod, "
                "and none of its rules matches"
            ),
        ),
        (
            _says(True, Because.RULE, DENY_ALL, 0),
            (
                "allowed on ingress of shop/web: rule ingress[0] of NetworkPolicy shop/deny-all "
                "allows it"
            ),
        ),
        (
            _says(False, Because.RULE, GUARD, 2, "metadata", direction=Direction.EGRESS),
            (
                "denied on egress of shop/web: rule egress[2] (metadata) of "
                "ClusterNetworkPolicy guard denies it"
            ),
        ),
        (
            _says(True, Because.OWN_NODE),
            "allowed on ingress of shop/web: the source is the pod's own node",
        ),
        (
            _says(True, Because.OWN_NODE, direction=Direction.EGRESS),
            "allowed on egress of shop/web: the destination is the pod's own node",
        ),
        (
            _says(True, Because.SELF),
            "allowed on ingress of shop/web: a pod cannot block itself",
        ),
        (
            _says(True, Because.DEFAULT),
            "allowed on ingress of shop/web: no policy says anything about it",
        ),
        (
            _says(False, Because.FAULT, DENY_ALL),
            (
                "denied on ingress of shop/web: NetworkPolicy shop/deny-all cannot be read, "
                "and so nothing is allowed"
            ),
        ),
        (
            _says(False, Because.FAULT, GUARD, 1),
            (
                "denied on ingress of shop/web: rule ingress[1] of ClusterNetworkPolicy guard "
                "cannot be read, and so nothing is allowed"
            ),
        ),
    ],
)
def test_a_judgement_names_side_policy_and_rule(judgement, text):
    assert describe_judgement(judgement) == text


def test_a_denial_tells_only_who_denies():
    verdict = Verdict(
        egress=_says(True, Because.DEFAULT, direction=Direction.EGRESS),
        ingress=_says(False, Because.FAULT, DENY_ALL),
    )

    said = describe(verdict)

    assert said.startswith("Denied on ingress of shop/web: ")
    assert "egress" not in said


def test_what_is_allowed_tells_both_sides():
    side = _says(True, Because.DEFAULT)

    said = describe(Verdict(egress=_says(True, Because.SELF), ingress=side))

    assert said.count(".") == 2
    assert said.endswith("no policy says anything about it.")


def test_ends_that_are_no_pods_are_nobodys_business():
    assert describe(Verdict()) == "Allowed: neither end is a pod that policies could select."
