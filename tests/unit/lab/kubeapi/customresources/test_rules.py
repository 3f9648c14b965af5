"""Objects keep the CEL rules of their CRD, and what breaks them is told as by the real server."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION
from tests.support.cluster import make_cluster
from tests.support.custom_resources import GROUP, LOAF_SCHEMA, definition, loaf, row_of, version


def bakery(*rules: dict, at: str = "spec", **more):
    """Return a CRD with rules for a loaf's spec, or for one of its fields."""
    spec = LOAF_SCHEMA["properties"]["spec"]
    held = {**spec, "properties": {**spec["properties"], **more}}
    if at == "spec":
        held["x-kubernetes-validations"] = list(rules)
    else:
        field = {**held["properties"][at], "x-kubernetes-validations": list(rules)}
        held["properties"] = {**held["properties"], at: field}
    properties = {**LOAF_SCHEMA["properties"], "spec": held}
    schema = {**LOAF_SCHEMA, "properties": properties}
    return definition(version(schema={"openAPIV3Schema": schema}))


def open_bakery(*rules: dict, **more):
    state = make_cluster()
    state.create(CUSTOM_RESOURCE_DEFINITION, bakery(*rules, **more))
    return state, row_of(state)


def refusal(act, *args) -> ApiError:
    with pytest.raises(ApiError) as caught:
        act(*args)
    return caught.value


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            {"rule": "self.grams < 1000"},
            'spec: Invalid value: "object": failed rule: self.grams < 1000',
        ),
        (
            {"rule": "self.grams < 1000", "message": "too heavy"},
            'spec: Invalid value: "object": too heavy',
        ),
        (
            {
                "rule": "self.grams < 1000",
                "message": "too heavy",
                "messageExpression": "'%d g is too heavy'.format([self.grams])",
            },
            'spec: Invalid value: "object": 2000 g is too heavy',
        ),
        (
            {"rule": "self.grams < 1000", "message": "b", "messageExpression": "self.none + ''"},
            'spec: Invalid value: "object": b',
        ),
        (
            {"rule": "self.grams < 1000", "message": "no", "fieldPath": ".grams"},
            'spec.grams: Invalid value: "object": no',
        ),
        (
            {"rule": "self.grams < 1000", "message": "no", "reason": "FieldValueForbidden"},
            "spec: Forbidden: no",
        ),
        (
            {"rule": "self.grams < 1000", "message": "no", "reason": "FieldValueRequired"},
            "spec: Required value: no",
        ),
        (
            {"rule": "self.none == 1", "message": "m"},
            'spec: Invalid value: "object": no such key: none evaluating rule: m',
        ),
    ],
)
def test_a_broken_rule_is_told_as_it_says(rule, told):
    state, row = open_bakery(rule)

    error = refusal(state.create, row, loaf(grams=2000), "default")

    assert error.message == f'Loaf.{GROUP} "a" is invalid: {told}'


def test_a_rule_about_a_change_is_not_asked_of_something_new():
    state, row = open_bakery({"rule": "self == oldSelf", "message": "is immutable"}, at="flour")
    made = state.create(row, loaf(), "default").object

    error = refusal(
        state.update, row, "a", "default", {**made, "spec": {**made["spec"], "flour": "wheat"}}
    )

    assert error.message.endswith('spec.flour: Invalid value: "string": is immutable')
    state.update(row, "a", "default", {**made, "spec": {**made["spec"], "grams": 500}})


def test_items_of_a_map_list_are_compared_with_what_they_were():
    item = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "grams": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.grams >= oldSelf.grams", "message": "less"}],
    }
    toppings = {**LOAF_SCHEMA["properties"]["spec"]["properties"]["toppings"], "items": item}
    state, row = open_bakery(toppings=toppings)
    made = state.create(row, loaf(toppings=[{"name": "a", "grams": 5}]), "default").object

    def with_toppings(*held):
        return {**made, "spec": {**made["spec"], "toppings": list(held)}}

    fewer = with_toppings({"name": "b", "grams": 1}, {"name": "a", "grams": 4})
    error = refusal(state.update, row, "a", "default", fewer)
    assert error.message.endswith('spec.toppings[1]: Invalid value: "object": less')


def test_what_was_there_before_a_rule_may_stay():
    state, row = open_bakery()
    made = state.create(row, loaf(grams=2000), "default").object
    crd = state.get(CUSTOM_RESOURCE_DEFINITION, f"loaves.{GROUP}").object
    held = bakery({"rule": "self <= 1000", "message": "too heavy"}, at="grams")
    state.update(CUSTOM_RESOURCE_DEFINITION, f"loaves.{GROUP}", "", {**crd, "spec": held["spec"]})

    state.update(
        row_of(state), "a", "default", {**made, "spec": {**made["spec"], "flour": "wheat"}}
    )


def test_an_object_of_the_wrong_shape_is_told_that_its_rules_were_not_looked_at():
    state, row = open_bakery({"rule": "self.grams < 1000"})
    error = refusal(state.create, row, loaf(grams="many"), "default")
    assert '<nil>: Invalid value: "null": some validation rules were not checked' in error.message


def test_values_come_as_their_schema_says():
    state, row = open_bakery(
        {"rule": "self.ratio == 2.0 && self.rest > duration('5m')", "message": "no"},
        ratio={"type": "number"},
        rest={"type": "string", "format": "duration"},
    )
    state.create(row, loaf(ratio=2, rest="6m"), "default")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"rule": ""}, "x-kubernetes-validations[0].rule: Required value: rule is not specified"),
        ({"rule": "self.grams +"}, 'rule: Invalid value: "self.grams +": compilation failed: ERR'),
        ({"rule": "selff.grams > 1"}, "undeclared reference to 'selff' (in container '')"),
        ({"rule": "size(self)"}, "cel expression must evaluate to a bool"),
        ({"rule": "true", "message": " "}, "message must be non-empty if specified"),
        ({"rule": "true", "message": "a\nb"}, "message must not contain line breaks"),
        ({"rule": "true ||\ntrue"}, "message must be specified if rule contains line breaks"),
        ({"rule": "true", "messageExpression": "1 + 1"}, "must evaluate to a string"),
        ({"rule": "true", "reason": "Because"}, 'reason: Unsupported value: "Because"'),
        ({"rule": "true", "fieldPath": "a b["}, "fieldPath must be a valid path"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_with_its_crd(rule, told):
    state = make_cluster()
    error = refusal(state.create, CUSTOM_RESOURCE_DEFINITION, bakery(rule))
    assert told in error.message
