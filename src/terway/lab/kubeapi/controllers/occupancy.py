"""Who runs on which node, and so: may a pod run there, too?

Source for the words of refusal: k8s.io/kubernetes pkg/scheduler/framework/plugins, v1.32.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from terway.lab.kubeapi.controllers.placement import (
    is_cordoned,
    lacking_resources,
    matches_affinity,
    repelled_by,
    requests_of,
    untolerated_taint,
)
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import Object, is_pod_finished, name_of, read_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a pod cannot run on a node. `others_could_go`: it could, were other pods not there."""

    reasons: tuple[str, ...]
    others_could_go: bool = False


class Occupancy:
    """Who runs where, and what is used: the view, and what this plan has decided already."""

    def __init__(self, view: View) -> None:
        self.nodes = {name_of(node): node for node in view.nodes}
        self.residents: dict[str, list[Object]] = {name: [] for name in self.nodes}
        self.used: dict[str, dict[str, Decimal]] = {name: {} for name in self.nodes}
        for pod in view.pods:
            node = read_path(pod, "spec.nodeName", "")
            if node in self.nodes and not is_pod_finished(pod):
                self._count(pod, node)
        self._order = sorted((len(held), name) for name, held in self.residents.items())

    def add(self, pod: Object, node: str) -> None:
        """Count a pod to a node."""
        place = (len(self.residents[node]), node)
        del self._order[bisect_left(self._order, place)]
        self._count(pod, node)
        insort(self._order, (len(self.residents[node]), node))

    def candidates(self) -> Iterator[tuple[str, Object]]:
        """Yield the nodes, those with the fewest pods first."""
        for _, name in self._order:
            yield name, self.nodes[name]

    def _count(self, pod: Object, node: str) -> None:
        self.residents[node].append(pod)
        for name, amount in requests_of(pod).items():
            self.used[node][name] = self.used[node].get(name, Decimal(0)) + amount

    def refusal(self, pod: Object, node: Object) -> Refusal | None:
        """Return why the pod cannot run on the node, None when it can."""
        if is_cordoned(pod, node):
            return Refusal(reasons=("node(s) were unschedulable",))
        if taint := untolerated_taint(pod, node):
            value = f": {taint['value']}" if taint.get("value") else ": "
            reason = f"node(s) had untolerated taint {{{taint.get('key', '')}{value}}}"
            return Refusal(reasons=(reason,))
        if not matches_affinity(pod, node):
            return Refusal(reasons=("node(s) didn't match Pod's node affinity/selector",))
        if lacking := lacking_resources(pod, node, self.used[name_of(node)]):
            reasons = tuple(
                "Too many pods" if name == "pods" else f"Insufficient {name}" for name in lacking
            )
            return Refusal(reasons=reasons, others_could_go=True)
        if repelled_by(pod, node, self.residents, self.nodes):
            reason = "node(s) didn't match pod anti-affinity rules"
            return Refusal(reasons=(reason,), others_could_go=True)
        return None
