"""Does an object match a label or field selector?

Source: Kubernetes docs "Labels and Selectors", "Field Selectors"; k8s.io/apimachinery pkg/labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from terway.lab.kubeapi.errors import bad_request
from terway.lab.kubeapi.objects import Object, labels_of, read_path
from terway.lab.kubeapi.resources import ResourceDef

Predicate = Callable[[Object], bool]
LabelTest = Callable[[Mapping[str, str]], bool]

_SET_BASED = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([^\s!=<>]+)\s*(==|=|!=|<|>)\s*(\S*)$")
_EXISTS = re.compile(r"^(!?)\s*([^\s!=<>(),]+)$")
_COMMA = re.compile(r",(?![^(]*\))")  # commas outside of parentheses


def everything(obj: Object) -> bool:
    """Match any object."""
    return True


def parse_labels(text: str) -> LabelTest:
    """Return the test for a label selector in kubectl's notation; ApiError 400 if it is none."""
    tests = [_parse_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _parse_requirement(text: str) -> LabelTest:
    if match := _SET_BASED.match(text):
        key, operator, values = match.groups()
        return _in(key, {value.strip() for value in values.split(",")}, negate=operator == "notin")
    if match := _EQUALITY.match(text):
        key, operator, value = match.groups()
        if operator in ("<", ">"):
            return _compare(key, operator, value)
        return _in(key, {value}, negate=operator == "!=")
    if match := _EXISTS.match(text):
        absent, key = match.groups()
        return lambda labels: (key in labels) is not bool(absent)
    raise bad_request(f'unable to parse requirement: found "{text}"')


def _in(key: str, values: set[str], *, negate: bool) -> LabelTest:
    # "notin" and "!=" match objects without the label, too.
    return lambda labels: (labels.get(key) in values) is not negate


def _compare(key: str, operator: str, value: str = "") -> LabelTest:
    def test(labels: Mapping[str, str]) -> bool:
        held = labels.get(key, "")
        if not held.lstrip("-").isdigit() or not value.lstrip("-").isdigit():
            return False
        return int(held) > int(value) if operator == ">" else int(held) < int(value)

    return test


def label_selector(selector: Mapping[str, Any] | None) -> LabelTest:
    """Return the test for a LabelSelector object; None matches nothing, an empty one everything."""
    if selector is None:
        return lambda labels: False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    tests = [_expression(held) for held in selector.get("matchExpressions") or ()]
    return lambda labels: (
        all(labels.get(key) == value for key, value in exact.items())
        and all(test(labels) for test in tests)
    )


def _expression(expression: Mapping[str, Any]) -> LabelTest:
    key, values = expression.get("key", ""), tuple(expression.get("values") or ())
    match expression.get("operator"):
        case "In" | "NotIn" as operator:
            return _in(key, set(values), negate=operator == "NotIn")
        case "Exists" | "DoesNotExist" as operator:
            return lambda labels: (key in labels) is (operator == "Exists")
        case "Gt" | "Lt" as operator:
            return _compare(key, ">" if operator == "Gt" else "<", *values[:1])
        case _:
            return lambda labels: False  # validation has refused it where it could


def parse_fields(text: str, resource: ResourceDef) -> Predicate:
    """Return the test for a field selector; ApiError 400 for a field that cannot be selected."""
    tests = [_parse_field(part.strip(), resource) for part in text.split(",") if part.strip()]
    return lambda obj: all(test(obj) for test in tests)


def _parse_field(text: str, resource: ResourceDef) -> Predicate:
    match = re.match(r"^([^=!]+)(==|=|!=)(.*)$", text)
    if match is None:
        raise bad_request(f"invalid selector: '{text}'; can't understand '{text}'")
    path, operator, value = match.groups()
    if path not in ("metadata.name", "metadata.namespace", *resource.fields):
        raise bad_request(f"field label not supported: {path}")
    negate = operator == "!="
    return lambda obj: (_field_text(obj, path) == value) is not negate


def _field_text(obj: Object, path: str) -> str:
    value = read_path(obj, path, "")
    if path == "source":
        return str(read_path(obj, "source.component", ""))
    if isinstance(value, bool) or path in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if value else "false"
    return str(value)


def parse_selector(resource: ResourceDef, *, labels: str = "", fields: str = "") -> Predicate:
    """Return one test for both selectors of a request."""
    if not labels and not fields:
        return everything
    by_label = parse_labels(labels)
    by_field = parse_fields(fields, resource)
    return lambda obj: by_label(labels_of(obj)) and by_field(obj)
