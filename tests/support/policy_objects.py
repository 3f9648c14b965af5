"""NetworkPolicies as objects of the API, for tests that put them in force in a lab.

Every direction that is isolated lets the fence of `support.wires` through, for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.wires import FENCE

Object = dict[str, Any]
Labels = Mapping[str, str]

_FENCE: Object = {"ports": [{"protocol": "UDP", "port": FENCE}]}
NOBODY: tuple[Object, ...] = ()


def network_policy(
    name: str,
    *,
    selects: Labels,
    ingress: Sequence[Object] | None = None,
    egress: Sequence[Object] | None = None,
    namespace: str = "default",
    has_fence: bool = True,
) -> Object:
    """Return a policy that isolates the directions that are given, and allows what they say."""
    spec: Object = {"podSelector": {"matchLabels": dict(selects)}, "policyTypes": []}
    for direction, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(direction)
            spec[direction.lower()] = [*rules, *([_FENCE] if has_fence else [])]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def peers(
    direction: str,
    *ports: tuple[str, int],
    pods: Labels | None = None,
    namespaces: Labels | None = None,
) -> Object:
    """Return a rule of `direction` ("from", "to") for pods by their labels and namespaces'.

    Without ports it allows all of them, without labels of either kind everybody.
    """
    selectors = {"podSelector": pods, "namespaceSelector": namespaces}
    peer = {kind: {"matchLabels": dict(one)} for kind, one in selectors.items() if one is not None}
    rule: Object = {direction: [peer]} if peer else {}
    if ports:
        rule["ports"] = [{"protocol": protocol, "port": port} for protocol, port in ports]
    return rule
