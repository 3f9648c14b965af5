"""What do a pod's gates hold back: its placing, or its readiness?

A pod with scheduling gates waits, and may be narrowed meanwhile; gates only ever go. Source:
KEP-3521, KEP-3838, KEP-580; k8s.io/kubernetes pkg/apis/core/validation/validation.go
(ValidatePodUpdate), pkg/registry/core/pod/strategy.go (applySchedulingGatedCondition), v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import duplicate_value, forbidden_value, invalid_value
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    metadata,
    read_path,
    replace_in,
    with_condition,
)

GATED = "SchedulingGated"
_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_AFFINITY = f"affinity.nodeAffinity.{_REQUIRED}"
_TERMS = f"{_AFFINITY}.nodeSelectorTerms"


def is_gated(pod: Object) -> bool:
    """Say whether the pod must not be placed yet."""
    return bool(read_path(pod, "spec.schedulingGates", []))


def with_gated_condition(pod: Object) -> Object:
    """Return a new pod, saying of itself that it is gated if it is."""
    if not is_gated(pod):
        return pod
    condition = {"type": "PodScheduled", "status": "False", "reason": GATED, "message": _MESSAGE}
    since = str(metadata(pod).get("creationTimestamp", ""))
    conditions = with_condition(read_path(pod, "status.conditions", []), condition, now=since)
    return replace_in(pod, "status.conditions", conditions)


def readiness_gates(pod: Object) -> dict[str, bool]:
    """Return the conditions that the pod's readiness waits for, and which of them are true."""
    types = [gate.get("conditionType", "") for gate in read_path(pod, "spec.readinessGates", ())]
    return {type_: is_condition_true(pod, type_) for type_ in types}


def validate_gates(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Yield what is wrong with the gates of a pod's spec, or a template's."""
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name, field = str(gate.get("name", "")), f"{path}.schedulingGates[{index}]"
        if not names.is_qualified_name(name):
            yield invalid_value(field, name, names.QUALIFIED_MESSAGE)
        if name in seen:
            yield duplicate_value(field, name)
        seen.add(name)
    if seen and spec.get("nodeName"):
        why = "cannot be set until all schedulingGates have been cleared"
        yield forbidden_value(f"{path}.nodeName", why)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        type_ = str(gate.get("conditionType", ""))
        if not names.is_qualified_name(type_):
            field = f"{path}.readinessGates[{index}].conditionType"
            yield invalid_value(field, type_, names.QUALIFIED_MESSAGE)


def validate_gates_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield the refusal of gates that are new, and of a selector that is not only narrowed."""
    before = [gate.get("name") for gate in read_path(old, "spec.schedulingGates", ())]
    for gate in read_path(new, "spec.schedulingGates", ()):
        if gate.get("name") not in before:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield forbidden_value("spec.schedulingGates", why)
    if is_gated(old):
        yield from _selector_update(old, new)
        yield from _affinity_update(old, new)


def _selector_update(old: Object, new: Object) -> Iterator[Cause]:
    before = read_path(old, "spec.nodeSelector", {})
    after = read_path(new, "spec.nodeSelector", {})
    if any(after.get(key) != value for key, value in before.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid_value("spec.nodeSelector", after, why)


def _affinity_update(old: Object, new: Object) -> Iterator[Cause]:
    before, after = read_path(old, f"spec.{_TERMS}"), read_path(new, f"spec.{_TERMS}", [])
    if before is None:
        return
    if len(before) != len(after):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield invalid_value(f"spec.{_TERMS}", after, why)
        return
    for index, (had, has) in enumerate(zip(before, after, strict=True)):
        for part in ("matchExpressions", "matchFields"):
            kept = had.get(part) or []
            if (has.get(part) or [])[: len(kept)] != kept:
                why = "only additions are allowed (no mutations or deletions)"
                yield invalid_value(f"spec.{_TERMS}[{index}].{part}", has.get(part), why)
                return


def frozen_spec(pod: Object, *, gated: bool) -> dict[str, Any]:
    """Return a pod's spec without what the gates make, or let be, mutable."""
    spec = {name: value for name, value in pod["spec"].items() if name != "schedulingGates"}
    if not gated:
        return spec
    spec.pop("nodeSelector", None)
    affinity = {name: value for name, value in (spec.pop("affinity", None) or {}).items() if value}
    node = dict(affinity.pop("nodeAffinity", None) or {})
    node.pop(_REQUIRED, None)
    return {**spec, "affinity": {**affinity, **({"nodeAffinity": node} if node else {})}}
