"""What is in an object as it came off the wire? Readers that any module may use.

Objects are plain dicts, as the API has them. What the store holds is never changed in place:
whoever wants another object builds one (`replace_in`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]


def metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object's metadata; empty where it has none."""
    return obj.get("metadata") or {}


def name_of(obj: Mapping[str, Any]) -> str:
    """Return the object's name."""
    return str(metadata(obj).get("name", ""))


def namespace_of(obj: Mapping[str, Any]) -> str:
    """Return the object's namespace, empty for cluster-scoped kinds."""
    return str(metadata(obj).get("namespace", ""))


def uid_of(obj: Mapping[str, Any]) -> str:
    """Return the object's uid."""
    return str(metadata(obj).get("uid", ""))


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the object's labels."""
    return metadata(obj).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the object's annotations."""
    return metadata(obj).get("annotations") or {}


def is_terminating(obj: Mapping[str, Any]) -> bool:
    """Say whether the object is being deleted."""
    return bool(metadata(obj).get("deletionTimestamp"))


def controller_uid(obj: Mapping[str, Any]) -> str:
    """Return the uid of the controller that owns the object, empty for none."""
    for owner in metadata(obj).get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner.get("uid", ""))
    return ""


def read_path(obj: Any, path: str, default: Any = None) -> Any:
    """Return what is at a dotted path (``spec.template.spec``), or `default`."""
    for part in path.split("."):
        if not isinstance(obj, Mapping) or obj.get(part) is None:
            return default
        obj = obj[part]
    return obj


def replace_in(obj: Object, path: str, value: Any) -> Object:
    """Return the object with `value` at a dotted path; None removes. The original is untouched."""
    head, _, rest = path.partition(".")
    if rest:
        return {**obj, head: replace_in(obj.get(head) or {}, rest, value)}
    if value is None:
        return {key: held for key, held in obj.items() if key != head}
    return {**obj, head: value}


def condition_of(obj: Mapping[str, Any], type_: str) -> dict[str, Any] | None:
    """Return the condition of that type in the object's status, or None."""
    conditions: Iterable[dict[str, Any]] = read_path(obj, "status.conditions", ())
    return next((held for held in conditions if held.get("type") == type_), None)


def is_condition_true(obj: Mapping[str, Any], type_: str) -> bool:
    """Say whether the object has the condition, with status "True"."""
    condition = condition_of(obj, type_)
    return condition is not None and condition.get("status") == "True"


def with_condition(conditions: Iterable[Object], wanted: Object, *, now: str) -> list[Object]:
    """Return the conditions with `wanted` among them; its transition time moves with its status."""
    kept = []
    since = now
    for held in conditions:
        if held.get("type") != wanted["type"]:
            kept.append(held)
        elif held.get("status") == wanted["status"]:
            since = held.get("lastTransitionTime", now)
    return [*kept, {**wanted, "lastTransitionTime": since}]


def is_pod_ready(pod: Mapping[str, Any]) -> bool:
    """Say whether the pod serves: its Ready condition is true and it is not going away."""
    return is_condition_true(pod, "Ready") and not is_terminating(pod)


def is_pod_finished(pod: Mapping[str, Any]) -> bool:
    """Say whether the pod has run to its end, well or badly."""
    return read_path(pod, "status.phase") in ("Succeeded", "Failed")


def owner_reference(owner: Object, *, api_version: str, kind: str) -> Object:
    """Return the reference by which a controller owns what it makes."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }
