"""How is one field refused? In the words of k8s.io/apimachinery pkg/util/validation/field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from terway.lab.kubeapi.errors import Cause


def required(field: str, why: str = "") -> Cause:
    """Return the refusal of a field that is missing."""
    message = f"Required value: {why}" if why else "Required value"
    return Cause(field=field, reason="FieldValueRequired", message=message)


def invalid_value(field: str, value: Any, why: str) -> Cause:
    """Return the refusal of a field's value."""
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause(field=field, reason="FieldValueInvalid", message=f"Invalid value: {shown}: {why}")


def invalid_list(field: str, values: Sequence[str], why: str, *, kind: str = "string") -> Cause:
    """Return the refusal of a list of texts: it is shown as Go shows values of that kind."""
    shown = ", ".join(f'"{one}"' for one in values)
    message = f"Invalid value: []{kind}{{{shown}}}: {why}"
    return Cause(field=field, reason="FieldValueInvalid", message=message)


def duplicate_value(field: str, value: str) -> Cause:
    """Return the refusal of a value that is there already."""
    return Cause(field=field, reason="FieldValueDuplicate", message=f'Duplicate value: "{value}"')


def not_supported(field: str, value: str, supported: tuple[str, ...]) -> Cause:
    """Return the refusal of a value that is not one of a few."""
    choices = ", ".join(f'"{one}"' for one in supported)
    message = f'Unsupported value: "{value}": supported values: {choices}'
    return Cause(field=field, reason="FieldValueNotSupported", message=message)


def forbidden_value(field: str, why: str) -> Cause:
    """Return the refusal of a field that may not be there, or not be changed."""
    return Cause(field=field, reason="FieldValueForbidden", message=f"Forbidden: {why}")
