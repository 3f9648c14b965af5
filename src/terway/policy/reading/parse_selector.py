"""Which labels does a LabelSelector of a manifest ask for?

Source: Kubernetes API reference, LabelSelector; the conditions are those of its validation.
"""

from __future__ import annotations

from terway.model.selector import Operator, Requirement, Selector
from terway.policy.reading.parse_fields import Table, refusal

_OPERATORS = {operator.value: operator for operator in Operator}
_WITH_VALUES = (Operator.IN, Operator.NOT_IN)


def parse_selector(table: Table) -> Selector:
    """Return the selector; an empty one is everything. Raises UsageError."""
    table.refuse_unknown("matchLabels", "matchExpressions")
    labels = table.labels("matchLabels")
    return Selector(
        requirements=frozenset(
            [
                Requirement(key=key, operator=Operator.IN, values=frozenset((value,)))
                for key, value in labels.items()
            ]
            + [_requirement(expression) for expression in table.tables("matchExpressions")]
        )
    )


def _requirement(table: Table) -> Requirement:
    table.refuse_unknown("key", "operator", "values")
    key = table.text("key")
    if not key:
        raise refusal(table.at("key"), key, "name the label")
    operator = _OPERATORS.get(table.text("operator"))
    if operator is None:
        remedy = f"write one of {', '.join(_OPERATORS)}"
        raise refusal(table.at("operator"), table.text("operator"), remedy)
    values = frozenset(table.texts("values"))
    if bool(values) is not (operator in _WITH_VALUES):
        remedy = "write at least one" if operator in _WITH_VALUES else "leave it out"
        raise refusal(table.at("values"), sorted(values), f"with {operator.value} {remedy}")
    return Requirement(key=key, operator=operator, values=values)
