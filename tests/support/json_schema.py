"""As much of JSON schema (draft 2020-12) as the schemas of eni-config use: an oracle for tests."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = {"$schema", "title", "description", "deprecated"}


def is_valid(schema: dict[str, Any], value: Any) -> bool:
    """Return whether `value` is as `schema` says; an unknown keyword is an error of ours."""
    return all(_follows(schema, key, said, value) for key, said in schema.items())


def _follows(schema: dict[str, Any], key: str, said: Any, value: Any) -> bool:
    match key:
        case "type":
            return isinstance(value, _TYPES[said]) and (
                said == "boolean" or not isinstance(value, bool)
            )
        case "pattern":
            return not isinstance(value, str) or re.search(said, value) is not None
        case "enum":
            return value in said
        case "anyOf":
            return any(is_valid(one, value) for one in said)
        case "minimum":
            return not isinstance(value, int | float) or value >= said
        case "exclusiveMinimum":
            return not isinstance(value, int | float) or value > said
        case "maximum":
            return not isinstance(value, int | float) or value <= said
        case "maxItems":
            return not isinstance(value, list) or len(value) <= said
        case "minItems":
            return not isinstance(value, list) or len(value) >= said
        case "required":
            return not isinstance(value, dict) or all(one in value for one in said)
        case "properties":
            return all(is_valid(one, value[name]) for name, one in said.items() if name in value)
        case "additionalProperties":
            others = [value[name] for name in value if name not in schema.get("properties", {})]
            return all(said is not False and is_valid(said, one) for one in others)
        case "prefixItems":
            return all(map(is_valid, said, value))
        case "items":
            return all(is_valid(said, one) for one in value[len(schema.get("prefixItems", ())) :])
        case _:
            assert key in _NOTES, f"unknown keyword {key}"
            return True
