"""Who owns which field, and what does a server-side apply make of an object?

    apply = merge the applied fields in, remove those that only this manager had and no longer
    applies, refuse where another manager owns a different value (unless forced)

Objects that nobody ever applied carry no managedFields, which keeps pods small; the first apply
gives all that was there to the manager ``before-first-apply``, as the real server does for
objects older than the feature. From then on every write is tracked.
Source: Kubernetes docs "Server-Side Apply"; structured-merge-diff, merge/update.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.fieldsets import (
    FieldSet,
    Path,
    fields_of,
    from_wire,
    is_same,
    leaves,
    remove_at,
    step_of,
    to_wire,
)
from terway.lab.kubeapi.objects import Object, metadata
from terway.lab.kubeapi.schema import ANY, ATOMIC, FieldType, field_type, item_type

BEFORE_FIRST_APPLY = "before-first-apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Who writes: the field manager's name, by apply or update, at which subresource."""

    name: str
    is_apply: bool = False
    subresource: str = ""


Ownership = dict[Manager, FieldSet]


def read_ownership(obj: Object) -> Ownership:
    """Return who owns what, as the object's managedFields say."""
    owned: Ownership = {}
    for entry in metadata(obj).get("managedFields") or ():
        manager = Manager(
            name=entry.get("manager", ""),
            is_apply=entry.get("operation") == "Apply",
            subresource=entry.get("subresource", ""),
        )
        owned[manager] = from_wire(entry.get("fieldsV1") or {})
    return owned


def write_ownership(obj: Object, owned: Ownership, *, now: str) -> Object:
    """Return the object with managedFields that say who owns what."""
    held = {
        (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")): entry
        for entry in metadata(obj).get("managedFields") or ()
    }
    entries = []
    for manager, fields in sorted(owned.items(), key=lambda pair: str(pair[0])):
        if not fields:
            continue
        entry: dict[str, Any] = {
            "manager": manager.name,
            "operation": "Apply" if manager.is_apply else "Update",
            "apiVersion": obj.get("apiVersion", "v1"),
            "fieldsType": "FieldsV1",
            "fieldsV1": to_wire(fields),
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        before = held.get((manager.name, entry["operation"], manager.subresource))
        same = before is not None and before.get("fieldsV1") == entry["fieldsV1"]
        entry["time"] = before["time"] if same and before is not None else now
        entries.append(entry)
    return {**obj, "metadata": {**metadata(obj), "managedFields": entries}}


def track_update(
    old: Object, new: Object, type_: FieldType, manager: Manager, *, now: str
) -> Object:
    """Return `new` with its ownership after an ordinary write; untracked objects stay so."""
    owned = read_ownership(old)
    if not owned:
        return new
    before, after = fields_of(old, type_), fields_of(new, type_)
    changed = frozenset(
        path for path in leaves(after) if path not in before or not is_same(old, new, path, type_)
    )
    result = {
        other: frozenset(path for path in fields if path in after and path not in changed)
        for other, fields in owned.items()
    }
    result[manager] = result.get(manager, frozenset()) | _with_containers(changed, after - before)
    return write_ownership(_with_entries(new, old), result, now=now)


def _with_containers(paths: Iterable[Path], fresh: FieldSet) -> FieldSet:
    paths = frozenset(paths)
    return paths | frozenset(path for path in fresh if any(p[: len(path)] == path for p in paths))


def _with_entries(new: Object, old: Object) -> Object:
    entries = metadata(old).get("managedFields")
    return {**new, "metadata": {**metadata(new), "managedFields": entries}}


def apply_patch(
    live: Object, applied: Object, type_: FieldType, manager: Manager, *, force: bool, now: str
) -> Object:
    """Return `live` after `manager` applied `applied`. ApiError 409 names each conflict."""
    owned = read_ownership(live)
    if not owned and metadata(live).get("uid"):
        owned = {Manager(name=BEFORE_FIRST_APPLY): fields_of(live, type_)}
    wanted = fields_of(applied, type_)
    others = {who: fields for who, fields in owned.items() if who != manager}
    conflicts = _conflicts(live, applied, type_, leaves(wanted), others)
    if conflicts and not force:
        raise _conflict_error(conflicts)
    lost = owned.get(manager, frozenset()) - wanted
    merged = merge_applied(live, _without_server_fields(applied), type_)
    for path in sorted(lost, key=len, reverse=True):
        if not any(path in fields for fields in others.values()) and not _goes_through(
            path, wanted
        ):
            merged = remove_at(merged, path, type_)
    taken = {path for _, path in conflicts}
    result = {who: fields - taken for who, fields in others.items()}
    result[manager] = wanted
    return write_ownership(_with_entries(merged, live), result, now=now)


def _goes_through(path: Path, wanted: FieldSet) -> bool:
    return any(held[: len(path)] == path for held in wanted)


def _without_server_fields(applied: Object) -> Object:
    held = metadata(applied)
    names = ("labels", "annotations", "finalizers", "ownerReferences", "name", "namespace")
    kept = {name: held[name] for name in names if name in held}
    return {**applied, "metadata": kept}


def _conflicts(
    live: Object, applied: Object, type_: FieldType, wanted: FieldSet, others: Ownership
) -> list[tuple[Manager, Path]]:
    found = []
    for path in sorted(wanted):
        if is_same(live, applied, path, type_):
            continue
        found += [(who, path) for who, fields in others.items() if path in fields]
    return found


def _conflict_error(conflicts: list[tuple[Manager, Path]]) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{who.name}"',
            "field": path_text(path),
        }
        for who, path in conflicts
    ]
    count = len(conflicts)
    names = ", ".join(sorted({f'"{who.name}"' for who, _ in conflicts}))
    fields = ", ".join(path_text(path) for _, path in conflicts)
    text = (
        f"Apply failed with {count} conflict{'s' * (count > 1)}: conflicts with {names}: {fields}"
    )
    return ApiError(409, "Conflict", text, details={"causes": causes})


def path_text(path: Path) -> str:
    """Return a path as messages spell it: ``.spec.containers[name="a"].image``."""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += "." + step[2:]
        elif step.startswith("k:"):
            inner = step[3:-1].replace('":', "=").replace('"', "", 1).replace(',"', ",")
            text += f"[{inner}]"
        else:
            text += f"[={step[2:]}]"
    return text


def merge_applied(live: Any, applied: Any, type_: FieldType) -> Any:
    """Return `live` with everything that `applied` sets, lists merged by their keys."""
    if isinstance(applied, dict) and isinstance(live, dict) and type_ is not ATOMIC:
        merged = dict(live)
        for field, value in applied.items():
            merged[field] = merge_applied(live.get(field), value, field_type(type_, field) or ANY)
        return merged
    if isinstance(applied, list) and isinstance(live, list) and type_.is_set:
        return live + [item for item in applied if item not in live]
    if isinstance(applied, list) and isinstance(live, list) and type_.keys:
        return _merge_keyed(live, applied, type_)
    return applied


def _merge_keyed(live: list[Any], applied: list[Any], type_: FieldType) -> list[Any]:
    held = {step_of(item, type_): item for item in live}
    merged = dict(held)
    for item in applied:
        step = step_of(item, type_)
        merged[step] = merge_applied(held.get(step), item, item_type(type_))
    return list(merged.values())
