"""Is this a StatefulSet that the lab can run, and what is filled in?

Source: k8s.io/kubernetes pkg/apis/apps/validation/validation.go (ValidateStatefulSetSpec) and
pkg/apis/apps/v1/defaults.go, v1.32. Claims for volumes are refused: the lab has no storage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi.causes import forbidden_value, invalid_value, required
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.objects import Object, read_path

ORDERED, PARALLEL = "OrderedReady", "Parallel"
ROLLING, ON_DELETE = "RollingUpdate", "OnDelete"
_RETAIN = {"whenDeleted": "Retain", "whenScaled": "Retain"}
_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_COUNTS = ("replicas", "minReadySeconds", "revisionHistoryLimit")
_COUNTS_BELOW = ("ordinals.start", "updateStrategy.rollingUpdate.partition")


def stateful_set_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a StatefulSet's spec, whose template has its own defaults, filled in."""
    strategy = {"type": ROLLING, **(spec.get("updateStrategy") or {})}
    if strategy["type"] == ROLLING:
        strategy["rollingUpdate"] = {"partition": 0, **(strategy.get("rollingUpdate") or {})}
    return {
        "replicas": 1,
        "podManagementPolicy": ORDERED,
        "revisionHistoryLimit": 10,
        "persistentVolumeClaimRetentionPolicy": _RETAIN,
        **spec,
        "updateStrategy": strategy,
    }


def validate_stateful_set(obj: Object) -> Iterator[Cause]:
    """Yield what is wrong beyond what all workloads have in common."""
    spec = obj.get("spec") or {}
    if spec.get("volumeClaimTemplates"):
        why = "the lab has no storage: leave it out, or use emptyDir volumes in spec.template"
        yield forbidden_value("spec.volumeClaimTemplates", why)
    policy = spec.get("podManagementPolicy")
    if policy not in (ORDERED, PARALLEL):
        why = f"must be '{ORDERED}' or '{PARALLEL}'"
        yield invalid_value("spec.podManagementPolicy", str(policy), why)
    yield from _strategy(spec.get("updateStrategy") or {})
    for path in (*_COUNTS[1:], *_COUNTS_BELOW):
        count = read_path(spec, path, 0)
        if count < 0:
            yield invalid_value(f"spec.{path}", count, "must be greater than or equal to 0")
    if read_path(spec, "template.spec.activeDeadlineSeconds") is not None:
        why = "activeDeadlineSeconds in StatefulSet is not Supported"
        yield forbidden_value("spec.template.spec.activeDeadlineSeconds", why)


def _strategy(strategy: Mapping[str, Any]) -> Iterator[Cause]:
    kind = strategy.get("type", "")
    if not kind:
        yield required("spec.updateStrategy")
    elif kind not in (ROLLING, ON_DELETE):
        why = f"must be '{ROLLING}' or '{ON_DELETE}'"
        yield invalid_value("spec.updateStrategy", kind, why)
    elif kind == ON_DELETE and strategy.get("rollingUpdate") is not None:
        why = f"only allowed for updateStrategy '{ROLLING}'"
        yield invalid_value("spec.updateStrategy.rollingUpdate", "", why)


def validate_stateful_set_update(old: Object, new: Object) -> Iterator[Cause]:
    """Yield the refusal of a change of what cannot be changed."""
    if _fixed_part(old) != _fixed_part(new):
        names = ", ".join(f"'{name}'" for name in _MUTABLE[:-1])
        why = (
            f"updates to statefulset spec for fields other than {names} and '{_MUTABLE[-1]}' "
            "are forbidden"
        )
        yield forbidden_value("spec", why)


def _fixed_part(obj: Object) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    return {name: value for name, value in spec.items() if name not in _MUTABLE}
