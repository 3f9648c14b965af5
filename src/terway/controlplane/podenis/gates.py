"""How is a pod let through its gate, to the zone where its ENIs are? By a JSON patch.

A gated pod's node affinity may be narrowed: an expression more in each term, or a first term.
Source: KEP-3838, "Pod mutable scheduling directives when gated".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terway.model.ids import ZoneId
from terway.podeni.pods import GATE

ZONE_LABEL = "topology.kubernetes.io/zone"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
Patch = list[dict[str, Any]]


def opened(pod: Mapping[str, Any], zone_id: ZoneId) -> Patch:
    """Return what takes our gate from a pod, and binds it to a zone; nothing if it has none."""
    spec: Mapping[str, Any] = pod["spec"]
    gates = spec.get("schedulingGates") or []
    kept = [one for one in gates if one.get("name") != GATE]
    if len(kept) == len(gates):
        return []
    version = pod["metadata"]["resourceVersion"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        *affinity_patch(spec, [[zone_id]]),
        {"op": "replace", "path": "/spec/schedulingGates", "value": kept},
    ]


def affinity_patch(spec: Mapping[str, Any], zones: Sequence[Sequence[ZoneId]]) -> Patch:
    """Return what binds a pod to nodes in one of each of `zones`, beside what it asks for itself.

    Terms are alternatives, and within one all expressions count: so each term gets them all.
    """
    added = [{"key": ZONE_LABEL, "operator": "In", "values": list(one)} for one in zones]
    if not added:
        return []
    affinity: dict[str, Any] = dict(spec.get("affinity") or {})
    node = dict(affinity.get("nodeAffinity") or {})
    terms = (node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    narrowed = [{**one, "matchExpressions": _with(one, added)} for one in terms]
    node[_REQUIRED] = {"nodeSelectorTerms": narrowed}
    affinity["nodeAffinity"] = node
    return [{"op": "add", "path": "/spec/affinity", "value": affinity}]


def _with(term: Mapping[str, Any], added: list[dict[str, Any]]) -> list[dict[str, Any]]:
    held = list(term.get("matchExpressions") or ())
    return [*held, *(one for one in added if one not in held)]
