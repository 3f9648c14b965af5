"""What does an object look like after a merge patch, a JSON patch, a strategic merge patch?

Pure functions: the object and the patch are left as they are. Source: RFC 7396, RFC 6902, and
the Kubernetes document "Strategic Merge Patch" with its directives.
"""

from __future__ import annotations

import copy
from typing import Any

from terway.lab.kubeapi.errors import ApiError, bad_request
from terway.lab.kubeapi.schema import ANY, FieldType, field_type, item_type

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_SET_ORDER = "$setElementOrder/"


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` after an RFC 7396 merge patch: null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = merge_patch(merged.get(field), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Return `target` after an RFC 6902 patch. ApiError 422 when an operation does not apply."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    result = copy.deepcopy(target)
    for operation in operations:
        try:
            result = _apply_operation(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            text = f"the server rejected our request due to an error in our request: {operation}"
            raise ApiError(422, "Invalid", text) from error
    return result


def _apply_operation(document: Any, operation: dict[str, Any]) -> Any:
    path = operation["path"]
    match operation["op"]:
        case "add":
            return _put(document, path, copy.deepcopy(operation["value"]), insert=True)
        case "replace":
            _read(document, path)
            return _put(document, path, copy.deepcopy(operation["value"]), insert=False)
        case "remove":
            return _cut(document, path)
        case "move":
            moved = _read(document, operation["from"])
            return _put(_cut(document, operation["from"]), path, moved, insert=True)
        case "copy":
            copied = copy.deepcopy(_read(document, operation["from"]))
            return _put(document, path, copied, insert=True)
        case "test":
            if _read(document, path) != operation["value"]:
                raise ValueError(f"test of {path} failed")
            return document
        case other:
            raise ValueError(f"unknown op {other}")


def _tokens(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _step(holder: Any, token: str) -> Any:
    return holder[int(token)] if isinstance(holder, list) else holder[token]


def _read(document: Any, pointer: str) -> Any:
    for token in _tokens(pointer):
        document = _step(document, token)
    return document


def _put(document: Any, pointer: str, value: Any, *, insert: bool) -> Any:
    tokens = _tokens(pointer)
    if not tokens:
        return value
    holder = document
    for token in tokens[:-1]:
        holder = _step(holder, token)
    last = tokens[-1]
    if isinstance(holder, dict):
        holder[last] = value
    elif not insert:
        holder[int(last)] = value
    else:
        index = len(holder) if last == "-" else int(last)
        if not 0 <= index <= len(holder):
            raise IndexError(pointer)
        holder.insert(index, value)
    return document


def _cut(document: Any, pointer: str) -> Any:
    tokens = _tokens(pointer)
    holder = document
    for token in tokens[:-1]:
        holder = _step(holder, token)
    last = tokens[-1]
    if isinstance(holder, list):
        del holder[int(last)]
    else:
        del holder[last]
    return document


def strategic_patch(target: Any, patch: Any, type_: FieldType) -> Any:
    """Return `target` after a strategic merge patch: lists with keys are merged item by item."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get(_DIRECTIVE)
    body = {field: value for field, value in patch.items() if not field.startswith("$")}
    if directive == "replace":
        return copy.deepcopy(body)
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        merged = {field: held for field, held in merged.items() if field in patch[_RETAIN]}
    _delete_from_sets(merged, patch)
    for field, value in body.items():
        if value is None:
            merged.pop(field, None)
            continue
        held = field_type(type_, field) or ANY
        merged[field] = _merge_field(merged.get(field), value, held)
    _reorder(merged, patch, type_)
    return merged


def _merge_field(held: Any, value: Any, type_: FieldType) -> Any:
    if not isinstance(value, list):
        return strategic_patch(held, value, type_)
    base = held if isinstance(held, list) else []
    if type_.is_set:
        return base + [item for item in value if item not in base]
    if type_.keys:
        return _merge_items(base, value, type_)
    return copy.deepcopy(value)


def _merge_items(base: list[Any], patch: list[Any], type_: FieldType) -> list[Any]:
    key = type_.keys[0]
    if any(item.get(_DIRECTIVE) == "replace" and len(item) == 1 for item in patch):
        return [copy.deepcopy(item) for item in patch if _DIRECTIVE not in item]
    merged = list(base)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        index = next((i for i, held in enumerate(merged) if held.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            merged = [held for held in merged if held.get(key) != item[key]]
        elif index is None:
            merged.append(strategic_patch({}, item, item_type(type_)))
        else:
            merged[index] = strategic_patch(merged[index], item, item_type(type_))
    return merged


def _delete_from_sets(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    for field, values in patch.items():
        name = field.removeprefix(_DELETE_FROM)
        if name != field and isinstance(merged.get(name), list):
            merged[name] = [held for held in merged[name] if held not in values]


def _reorder(merged: dict[str, Any], patch: dict[str, Any], type_: FieldType) -> None:
    for field, order in patch.items():
        name = field.removeprefix(_SET_ORDER)
        if name == field or not isinstance(merged.get(name), list):
            continue
        keys = (field_type(type_, name) or ANY).keys
        wanted = [item.get(keys[0]) if keys else item for item in order]

        def place(item: Any, keys: tuple[str, ...] = keys, wanted: list[Any] = wanted) -> int:
            value = item.get(keys[0]) if keys else item
            return wanted.index(value) if value in wanted else len(wanted)

        merged[name] = sorted(merged[name], key=place)
