"""Does a custom object keep the rules of its schema? `x-kubernetes-validations`, in CEL.

A rule is about the value that has it, `self`; one that mentions `oldSelf` is about a change, and so
holds only of what was there before. What is unchanged is not held to the others (ratcheting).
Source: Kubernetes docs "CustomResourceDefinition validation rules"; k8s.io/apiextensions-apiserver
pkg/apiserver/schema/cel/validation.go for the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi.causes import forbidden_value, invalid_value, not_supported, required
from terway.lab.kubeapi.cel.program import DYN, Program, compile_program
from terway.lab.kubeapi.cel.tokens import CompileError
from terway.lab.kubeapi.cel.values import NONE, EvaluationError, Optional
from terway.lab.kubeapi.customresources.jsonpath import JsonPathError, compile_path
from terway.lab.kubeapi.customresources.typed import typed
from terway.lab.kubeapi.customresources.words import LIST_KEYS, LIST_TYPE, RULES, Schema
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.structural import is_unchanged

_VARIABLES = frozenset({"self", "oldSelf"})
_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
_BLOCKING = (
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
)
_NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation"
)
_ABSENT = object()  # there was nothing before


def validate_rules(schema: Schema, path: str) -> Iterator[Cause]:
    """Yield what is wrong with the rules of one part of a schema."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _validate_rule(rule, f"{path}.{RULES}[{index}]")


def _validate_rule(rule: Mapping[str, Any], path: str) -> Iterator[Cause]:
    text, message = str(rule.get("rule") or "").strip(), str(rule.get("message") or "")
    if not text:
        yield required(f"{path}.rule", "rule is not specified")
    else:
        why = "cel expression must evaluate to a bool"
        yield from _validate_text(text, f"{path}.rule", "bool", why)
    if "message" in rule and not message.strip():
        yield invalid_value(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid_value(f"{path}.message", message, "message must not contain line breaks")
    elif "\n" in text and not message:
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    if expression := str(rule.get("messageExpression") or "").strip():
        why = "messageExpression must evaluate to a string"
        yield from _validate_text(expression, f"{path}.messageExpression", "string", why)
    if rule.get("reason", _REASONS[0]) not in _REASONS:
        yield not_supported(f"{path}.reason", str(rule["reason"]), _REASONS)
    yield from _validate_path(str(rule.get("fieldPath") or ""), f"{path}.fieldPath")


def _validate_text(text: str, path: str, wanted: str, why: str) -> Iterator[Cause]:
    try:
        program = compile_program(text, _VARIABLES)
    except CompileError as error:
        yield invalid_value(path, text, f"compilation failed: {error}")
        return
    if program.type not in (wanted, DYN):
        yield invalid_value(path, text, why)


def _validate_path(text: str, path: str) -> Iterator[Cause]:
    try:
        if text:
            compile_path(text)
    except JsonPathError as error:
        yield invalid_value(path, text, f"fieldPath must be a valid path: {error}")


def check_rules(obj: Any, schema: Schema, old: Any, causes: list[Cause]) -> Iterator[Cause]:
    """Yield which rules an object breaks; `old` is None of a new one.

    An object whose shape is wrong already, by `causes`, is not held to any.
    """
    if any(one.reason in _BLOCKING for one in causes):
        message = f'Invalid value: "null": {_NOT_CHECKED}'
        yield Cause(field="<nil>", reason="FieldValueInvalid", message=message)
        return
    yield from _check(obj, schema, "", _ABSENT if old is None else old, is_root=True)


def _check(
    value: Any, schema: Schema, path: str, old: Any, *, is_root: bool = False
) -> Iterator[Cause]:
    if value is None:
        return
    if schema.get(RULES):
        yield from _check_own(value, schema, path, old, is_root=is_root)
    if isinstance(value, dict):
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for name, held in value.items():
            inner = properties.get(name, others)
            if isinstance(inner, dict):
                where = f"{path}.{name}" if path else name
                yield from _check(held, inner, where, before.get(name, _ABSENT))
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            before = _correlated(item, schema, old)
            yield from _check(item, schema["items"], f"{path}[{index}]", before)


def _correlated(item: Any, schema: Schema, old: Any) -> Any:
    """Return what an item was before: only a list of type map can tell."""
    if schema.get(LIST_TYPE) != "map" or not isinstance(old, list):
        return _ABSENT
    keys = schema.get(LIST_KEYS) or ()
    wanted = [item.get(key) for key in keys]
    return next((one for one in old if [one.get(key) for key in keys] == wanted), _ABSENT)


def _check_own(
    value: Any, schema: Schema, path: str, old: Any, *, is_root: bool
) -> Iterator[Cause]:
    is_same = old is not _ABSENT and is_unchanged(value, old)
    variables = {"self": typed(value, schema, is_root=is_root)}
    if old is not _ABSENT:
        variables["oldSelf"] = typed(old, schema, is_root=is_root)
    for rule in schema[RULES]:
        program = compile_program(str(rule["rule"]).strip(), _VARIABLES)
        is_optional, is_change = bool(rule.get("optionalOldSelf")), program.mentions("oldSelf")
        if (is_change and old is _ABSENT and not is_optional) or (is_same and not is_change):
            continue
        seen = _with_optional(variables) if is_optional else variables
        trouble = _trouble(program, rule, seen)
        if trouble:
            yield _cause(rule, path, str(schema.get("type", "")), trouble)


def _with_optional(variables: Mapping[str, Any]) -> dict[str, Any]:
    held = Optional((variables["oldSelf"],)) if "oldSelf" in variables else NONE
    return {**variables, "oldSelf": held}


def _trouble(program: Program, rule: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    """Return what is said of a rule that does not hold, empty of one that does."""
    told = str(rule.get("message") or "").strip() or program.text
    try:
        if program.evaluate(variables) is True:
            return ""
    except EvaluationError as error:
        if str(error).startswith("no such overload: "):
            why = "call arguments did not match a supported operator, function or macro signature"
            return f"'{error}': {why} for rule: {told}"
        return f"{error} evaluating rule: {told}"
    return _message(rule, variables) or (told if rule.get("message") else f"failed rule: {told}")


def _message(rule: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    """Return what `messageExpression` says; what is no message falls back to `message`."""
    text = str(rule.get("messageExpression") or "").strip()
    if not text:
        return ""
    try:
        said = compile_program(text, _VARIABLES).evaluate(variables)
    except EvaluationError:
        return ""
    return said.strip() if isinstance(said, str) and "\n" not in said else ""


def _cause(rule: Mapping[str, Any], path: str, kind: str, why: str) -> Cause:
    field = f"{path}{rule.get('fieldPath') or ''}".lstrip(".") or "<nil>"
    match rule.get("reason"):
        case "FieldValueForbidden":
            return forbidden_value(field, why)
        case "FieldValueRequired":
            return required(field, why)
        case "FieldValueDuplicate":
            message = f'Duplicate value: "{kind}"'
            return Cause(field=field, reason="FieldValueDuplicate", message=message)
        case _:
            return invalid_value(field, kind, why)
