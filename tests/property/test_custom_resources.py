"""Whatever a schema and an object are: pruning and defaults settle, and lose nothing known."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.lab.kubeapi.customresources.pruning import fill, prune, unknown_fields
from terway.lab.kubeapi.customresources.schemas import validate_schema
from terway.lab.kubeapi.structural import validate_structure

NAMES = st.sampled_from("abcd")
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-3, 3),
    "string": st.sampled_from(["", "x", "y"]),
    "boolean": st.booleans(),
}


@st.composite
def scalars(draw) -> dict:
    kind = draw(st.sampled_from(sorted(SCALARS)))
    default = {"default": draw(SCALARS[kind])} if draw(st.booleans()) else {}
    nullable = {"nullable": True} if draw(st.booleans()) else {}
    return {"type": kind, **default, **nullable}


def objects(inner: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    fields = st.dictionaries(NAMES, inner, max_size=3)
    plain = st.builds(lambda held: {"type": "object", "properties": held}, fields)
    lists = st.builds(lambda held: {"type": "array", "items": held}, inner)
    maps = st.builds(lambda held: {"type": "object", "additionalProperties": held}, inner)
    open_ = st.builds(lambda held: {**held, "x-kubernetes-preserve-unknown-fields": True}, plain)
    return plain | lists | maps | open_


SCHEMAS = objects(st.recursive(scalars(), objects, max_leaves=6))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def fitting(draw, schema: dict) -> Any:
    """Draw a value that has the schema's types; fields may be missing, or unknown."""
    kind = schema["type"]
    if kind == "array":
        return [draw(fitting(schema["items"])) for _ in range(draw(st.integers(0, 2)))]
    if kind != "object":
        return draw(SCALARS[kind])
    others = schema.get("additionalProperties")
    found = {}
    for name in draw(st.sets(NAMES)):
        inner = schema.get("properties", {}).get(name, others)
        found[name] = draw(fitting(inner)) if inner else draw(VALUES)
    return found


@settings(max_examples=60)
@given(SCHEMAS, VALUES)
def test_pruning_and_defaulting_twice_is_the_same_as_once(schema, value):
    once = fill(prune(value, schema), schema)

    assert fill(prune(once, schema), schema) == once
    assert list(unknown_fields(prune(value, schema), schema)) == []


@settings(max_examples=60)
@given(SCHEMAS, VALUES)
def test_nothing_is_pruned_without_being_named_and_nothing_named_is_kept(schema, value):
    is_kept = prune(value, schema) == value

    assert is_kept is not any(True for _ in unknown_fields(value, schema))


@settings(max_examples=60)
@given(st.data(), SCHEMAS)
def test_what_has_the_right_types_is_accepted_with_its_defaults(data, schema):
    assert list(validate_schema(schema, "schema")) == []

    value = data.draw(fitting(schema))

    assert list(validate_structure(fill(prune(value, schema), schema), schema, "spec")) == []


@settings(max_examples=60)
@given(SCHEMAS, VALUES)
def test_defaults_never_change_what_is_given(schema, value):
    filled = fill(value, schema)

    def agrees(before: Any, after: Any) -> bool:
        if isinstance(before, dict):
            return all(agrees(held, after[name]) for name, held in before.items())
        if isinstance(before, list):
            return all(map(agrees, before, after))
        return before is None or bool(before == after)

    assert agrees(value, filled)
