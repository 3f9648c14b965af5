"""Of which pods and PodNetworkings is the API server to ask us, and what if we are away?

    asking     pods that ask for a network by annotation         fails
    selecting  pods that a PodNetworking selects, an entry each  fails
    own        pods of our own namespace, which may be needed to bring us back     ignored
    pods       all others, where every pod is given an ENI                         ignored
    gates      pods whose namespace asks for gates, or with one  fails, at a path of its own
               of ours (load balancers); those of our own namespace                ignored

Nobody else's pods are held up, because nobody is asked about them. The name of an entry is the
only word of ours in what a user reads while we are away: so it says what to look at.
Source: Kubernetes docs "Dynamic Admission Control". See docs/decisions/0023 and 0025.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from terway.loadbalancer.readiness import GATE_PREFIX, INJECT_LABEL, INJECT_VALUE
from terway.model.pod_network import PodNetworking
from terway.model.selector import Selector
from terway.podeni.settings import Settings

MUTATING_PATH, VALIDATING_PATH, BALANCED_PATH = "/mutating", "/validate", "/balanced"
OPTED_OUT = "k8s.aliyun.com/pod-eni"  # label of a namespace, "false"
IGNORED = "k8s.aliyun.com/ignore-by-terway"  # label of a pod, "true"
# Annotations by which a pod asks for a network of its own.
ASKING = tuple(
    f"k8s.aliyun.com/{name}"
    for name in ("pod-eni", "pod-networks", "pod-networks-request", "pod-networking")
)
_DOMAIN = "network.alibabacloud.com"
_AWAY = f"is-terway-controlplane-up.{_DOMAIN}"
_NAMESPACE = "kubernetes.io/metadata.name"
# Answers come from memory, in milliseconds. Who must wait for us waits; who need not, hardly.
_PATIENT_S, _BRISK_S = 10, 2
_LONGEST = 120

Hook = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the API server finds us: by `url`, or by our Service if that is empty.

    `has_balancers`: also to be asked about pods behind load balancers.
    """

    url: str
    name: str
    namespace: str
    has_balancers: bool = False

    def client_config(self, path: str, ca_pem: str) -> Mapping[str, Any]:
        """Return how to call `path`."""
        bundle = base64.b64encode(ca_pem.encode()).decode()
        if self.url:
            return {"url": f"{self.url}{path}", "caBundle": bundle}
        service = {"name": self.name, "namespace": self.namespace, "path": path, "port": 443}
        return {"service": service, "caBundle": bundle}


def mutating_hooks(
    place: Place,
    ca_pem: str,
    *,
    networkings: Iterable[PodNetworking] = (),
    settings: Settings,
    evaluates: bool,
) -> list[Hook]:
    """Return the entries for pods and PodNetworkings.

    A server that does not `evaluate` conditions cannot tell who asks: then all are seen, and none
    is held up.
    """
    found = [_any_pod(), _networkings()]
    if evaluates:
        chosen = sorted((one for one in networkings if one.has_selector), key=lambda one: one.name)
        found = [
            _asking(),
            *(_selecting(one, place, settings) for one in chosen),
            _own(place),
            *([_others()] if settings.has_every_pod else []),
            _networkings(),
        ]
    hooks = [_hook(one, place.client_config(MUTATING_PATH, ca_pem)) for one in found]
    balanced = _balanced(place, evaluates=evaluates) if place.has_balancers else []
    config = place.client_config(BALANCED_PATH, ca_pem)
    return [*hooks, *(_hook(one, config) for one in balanced)]


def validating_hooks(place: Place, ca_pem: str) -> list[Hook]:
    """Return the entry for PodNetworkings: one that nobody has looked at is not made."""
    one = {**_networkings(), "name": f"podnetworking.{_AWAY}", "failurePolicy": "Fail"}
    one["timeoutSeconds"] = _PATIENT_S
    return [_hook(one, place.client_config(VALIDATING_PATH, ca_pem))]


def asks() -> str:
    """Return the CEL expression that is true of a pod that asks for a network."""
    any_of = " || ".join(_says(name, "!({} in ['', 'false', 'False'])") for name in ASKING)
    return f"has(object.metadata.annotations) && ({any_of})"


def _says(name: str, rule: str) -> str:
    held = f"object.metadata.annotations['{name}']"
    return f"('{name}' in object.metadata.annotations && {rule.format(held)})"


def _declines() -> str:
    rule = _says(ASKING[0], "{} in ['false', 'False']")
    return f"has(object.metadata.annotations) && {rule}"


_SHARES_HOST = "has(object.spec.hostNetwork) && object.spec.hostNetwork == true"
_HAS_GATE = (
    "has(object.spec.readinessGates) && "
    f"object.spec.readinessGates.exists(one, one.conditionType.startsWith('{GATE_PREFIX}'))"
)
_OWNED = "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.size() > 0"


def _keeps_its_name(settings: Settings) -> str:
    kinds = ", ".join(f"'{one}'" for one in sorted(settings.fixed_kinds))
    owner = f"object.metadata.ownerReferences.exists(one, one.kind in [{kinds}])"
    return f"!({_OWNED}) || {owner}"


def _conditions(**texts: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "expression": text} for name, text in texts.items()]


def _asking() -> Hook:
    return {
        **_any_pod(),
        "name": f"pod-asks-for-a-network.{_AWAY}",
        "failurePolicy": "Fail",
        "timeoutSeconds": _PATIENT_S,
        "matchConditions": _conditions(
            asks_for_a_network=asks(), is_not_in_the_hosts_network=f"!({_SHARES_HOST})"
        ),
    }


def _selecting(one: PodNetworking, place: Place, settings: Settings) -> Hook:
    conditions = _conditions(
        asks_for_nothing=f"!({asks()})",
        declines_nothing=f"!({_declines()})",
        is_not_in_the_hosts_network=f"!({_SHARES_HOST})",
    )
    if one.network.lifetime.is_fixed:
        conditions += _conditions(keeps_its_name=_keeps_its_name(settings))
    pods = _expressions(one.pods) + _except(IGNORED, "true")
    namespaces = _expressions(one.namespaces) + _except(OPTED_OUT, "false")
    return {
        **_any_pod(),
        "name": f"podnetworking-{_short(one.name)}-selects-pod.{_AWAY}",
        "failurePolicy": "Fail",
        "timeoutSeconds": _PATIENT_S,
        "objectSelector": {"matchExpressions": pods},
        "namespaceSelector": {
            "matchExpressions": namespaces + _except(_NAMESPACE, place.namespace)
        },
        "matchConditions": conditions,
    }


def _own(place: Place) -> Hook:
    return {
        **_any_pod(),
        "name": f"own-pods.{_DOMAIN}",
        "namespaceSelector": {
            "matchExpressions": [*_except(OPTED_OUT, "false"), _in_namespace(place)]
        },
        "matchConditions": _conditions(
            asks_for_nothing=f"!({asks()})", is_not_in_the_hosts_network=f"!({_SHARES_HOST})"
        ),
    }


def _others() -> Hook:
    conditions = _conditions(
        asks_for_nothing=f"!({asks()})", is_not_in_the_hosts_network=f"!({_SHARES_HOST})"
    )
    return {**_any_pod(), "matchConditions": conditions}


def _any_pod() -> Hook:
    return {
        "name": f"pods.{_DOMAIN}",
        "failurePolicy": "Ignore",
        "timeoutSeconds": _BRISK_S,
        "rules": [_rule("", "v1", "pods", "CREATE")],
        "namespaceSelector": {"matchExpressions": _except(OPTED_OUT, "false")},
        "objectSelector": {"matchExpressions": _except(IGNORED, "true")},
        "reinvocationPolicy": "IfNeeded",
    }


def _balanced(place: Place, *, evaluates: bool) -> list[Hook]:
    """Return entries for pods whose namespace wants gates, and those that have one of ours.

    A pod without its gate is Ready before a load balancer knows of it: so a rolling update would
    go on, and take the last pod away that is known there. It waits, as who asks for a network.
    """
    plain: Hook = {
        "timeoutSeconds": _PATIENT_S,
        "rules": [_rule("", "v1", "pods", "CREATE")],
        "reinvocationPolicy": "IfNeeded",
    }
    wants = {"key": INJECT_LABEL, "operator": "In", "values": [INJECT_VALUE]}
    others = _except(_NAMESPACE, place.namespace)
    asked = {
        **plain,
        "name": f"pods-with-gates.{_AWAY}",
        "failurePolicy": "Fail",
        "namespaceSelector": {"matchExpressions": [wants, *others]},
    }
    own = {
        **plain,
        "name": f"own-pods-with-gates.{_DOMAIN}",
        "failurePolicy": "Ignore",  # they may be needed to bring us back
        "timeoutSeconds": _BRISK_S,
        "namespaceSelector": {"matchExpressions": [wants, _in_namespace(place)]},
    }
    by_hand = {
        **plain,
        "name": f"gates-by-hand.{_AWAY}",
        "failurePolicy": "Fail",
        "namespaceSelector": {"matchExpressions": [*_except(INJECT_LABEL, INJECT_VALUE), *others]},
        "matchConditions": _conditions(has_a_gate_of_ours=_HAS_GATE),
    }
    return [asked, own, by_hand] if evaluates else [asked, own]


def _in_namespace(place: Place) -> dict[str, Any]:
    return {"key": _NAMESPACE, "operator": "In", "values": [place.namespace]}


def _networkings() -> Hook:
    return {
        "name": f"podnetworkings.{_DOMAIN}",
        "failurePolicy": "Ignore",
        "timeoutSeconds": _BRISK_S,
        "rules": [_rule(_DOMAIN, "v1beta1", "podnetworkings", "CREATE", "UPDATE")],
    }


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 20].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _expressions(selector: Selector | None) -> list[dict[str, Any]]:
    if selector is None:
        return []
    found = [
        {
            "key": one.key,
            "operator": one.operator.value,
            **({"values": sorted(one.values)} if one.values else {}),
        }
        for one in selector.requirements
    ]
    return sorted(found, key=lambda one: (one["key"], one["operator"], str(one.get("values"))))


def _except(label: str, value: str) -> list[dict[str, Any]]:
    return [{"key": label, "operator": "NotIn", "values": [value]}]


def _hook(said: Hook, client_config: Mapping[str, Any]) -> Hook:
    general = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "matchPolicy": "Equivalent",
    }
    return {**general, **said, "clientConfig": dict(client_config)}


def _rule(group: str, version: str, resource: str, *operations: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [resource],
        "operations": list(operations),
        "scope": "*",
    }
