"""May this pod run on that node? The scheduler's filters, which DaemonSets share.

Source: Kubernetes docs "Assigning Pods to Nodes", "Taints and Tolerations";
k8s.io/component-helpers scheduling/corev1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from terway.lab.kubeapi.objects import Object, labels_of, name_of, read_path
from terway.lab.kubeapi.quantities import parse_quantity
from terway.lab.kubeapi.selectors import label_selector

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Say whether one of the tolerations covers the taint."""
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def taints_of(node: Object) -> list[Mapping[str, Any]]:
    """Return the node's taints, with the one that cordoning stands for."""
    taints: list[Mapping[str, Any]] = list(read_path(node, "spec.taints", []))
    if read_path(node, "spec.unschedulable", False) and not any(
        taint.get("key") == UNSCHEDULABLE for taint in taints
    ):
        taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule"})
    return taints


def untolerated_taint(pod: Object, node: Object) -> Mapping[str, Any] | None:
    """Return a taint that keeps the pod off the node, or None."""
    tolerations = read_path(pod, "spec.tolerations", ())
    for taint in taints_of(node):
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
            return taint
    return None


def matches_affinity(pod: Object, node: Object) -> bool:
    """Say whether the pod's nodeSelector and required node affinity accept the node."""
    labels = labels_of(node)
    selector = read_path(pod, "spec.nodeSelector", {})
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    terms = read_path(pod, f"{path}.nodeSelectorTerms")
    return terms is None or any(_term_matches(term, node) for term in terms)


def _term_matches(term: Mapping[str, Any], node: Object) -> bool:
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False  # an empty term matches nothing
    by_labels = label_selector({"matchExpressions": expressions})(labels_of(node))
    return by_labels and label_selector({"matchExpressions": fields})(
        {"metadata.name": name_of(node)}
    )


_PREFERRED = "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"


def preference(pod: Object, node: Object) -> int:
    """Return how much the pod would like to be there: the weights of what it prefers, summed."""
    return sum(
        int(term.get("weight", 0))
        for term in read_path(pod, _PREFERRED, ())
        if _prefers(term.get("preference") or {}, node)
    )


def _prefers(preference: Mapping[str, Any], node: Object) -> bool:
    # Unlike a required term, an empty one matches everything.
    return not preference or _term_matches(preference, node)


def highest_preference(pod: Object) -> int:
    """Return the `preference` of a node that would have everything that the pod likes."""
    return sum(int(term.get("weight", 0)) for term in read_path(pod, _PREFERRED, ()))


def requests_of(pod: Object) -> dict[str, Decimal]:
    """Return what the pod asks for of each resource, "pods" (itself) included.

    Init containers run one by one and before the others: the most that any of them wants counts.
    """
    total = {"pods": Decimal(1)}
    for container in read_path(pod, "spec.containers", ()):
        for name, amount in _requests(container):
            total[name] = total.get(name, Decimal(0)) + amount
    for container in read_path(pod, "spec.initContainers", ()):
        for name, amount in _requests(container):
            total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _requests(container: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for name, amount in read_path(container, "resources.requests", {}).items():
        yield name, parse_quantity(amount)


def lacking_resources(pod: Object, node: Object, used: Mapping[str, Decimal]) -> tuple[str, ...]:
    """Return the names of the resources that the node has too little of."""
    allocatable = read_path(node, "status.allocatable", {})
    lacking = []
    for name, wanted in requests_of(pod).items():
        if name == "pods" and name not in allocatable:
            continue  # a node that does not say has no limit
        free = parse_quantity(allocatable.get(name, "0")) - used.get(name, Decimal(0))
        if wanted > max(free, Decimal(0)):
            lacking.append(name)
    return tuple(lacking)


def is_cordoned(pod: Object, node: Object) -> bool:
    """Say whether the node takes no pods, and this is none that would not mind."""
    if not read_path(node, "spec.unschedulable", False):
        return False
    taint = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
    return not tolerates(read_path(pod, "spec.tolerations", ()), taint)


def repelled_by(
    pod: Object, node: Object, residents: Mapping[str, list[Object]], nodes: Mapping[str, Object]
) -> bool:
    """Say whether the pod's required anti-affinity forbids the node, given who runs where."""
    path = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    for term in read_path(pod, path, ()):
        key = term.get("topologyKey", "")
        matches = label_selector(term.get("labelSelector"))
        namespaces = term.get("namespaces") or [read_path(pod, "metadata.namespace", "")]
        here = labels_of(node).get(key)
        for name, pods in residents.items():
            other = nodes.get(name)
            if here is None or other is None or labels_of(other).get(key) != here:
                continue
            if any(
                matches(labels_of(one)) and read_path(one, "metadata.namespace") in namespaces
                for one in pods
            ):
                return True
    return False
