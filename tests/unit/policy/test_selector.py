"""Labels match selectors as Kubernetes has it: what lacks the key, what is empty."""

from __future__ import annotations

import pytest

from terway.model.selector import EVERYTHING, Operator, Requirement, Selector


def _matches(operator: Operator, *values: str, labels: dict[str, str]) -> bool:
    return Requirement(key="app", operator=operator, values=frozenset(values)).matches(labels)


@pytest.mark.parametrize(
    ("operator", "values", "same", "other", "empty", "lacking"),
    [
        (Operator.IN, ("a", "b"), True, False, False, False),
        (Operator.IN, ("",), False, False, True, False),
        (Operator.NOT_IN, ("a", "b"), False, True, True, True),
        (Operator.NOT_IN, ("",), True, True, False, True),
        (Operator.EXISTS, (), True, True, True, False),
        (Operator.DOES_NOT_EXIST, (), False, False, False, True),
    ],
)
def test_a_requirement_matches_as_its_operator_says(operator, values, same, other, empty, lacking):
    said = [
        _matches(operator, *values, labels=labels)
        for labels in ({"app": "a"}, {"app": "c"}, {"app": ""}, {"tier": "a"})
    ]

    assert said == [same, other, empty, lacking]


def test_everything_matches_who_has_no_labels():
    assert EVERYTHING.matches({})


def test_all_requirements_must_be_met():
    selector = Selector(
        requirements=frozenset(
            (
                Requirement(key="app", operator=Operator.IN, values=frozenset(("a",))),
                Requirement(key="tier", operator=Operator.EXISTS),
            )
        )
    )

    assert selector.matches({"app": "a", "tier": "x"})
    assert not selector.matches({"app": "a"})
    assert not selector.matches({"tier": "x"})
