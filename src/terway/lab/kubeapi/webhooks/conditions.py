"""Does a webhook want to see a review, by its own conditions? `matchConditions`, in CEL.

One that is false is enough for a no, whatever the others are; else one that is an error leaves it
to the failure policy: Fail refuses the write, Ignore does not ask the webhook.
Source: k8s.io/apiserver pkg/admission/plugin/webhook/matchconditions; k8s.io/kubernetes
pkg/apis/admissionregistration/validation for the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import duplicate_value, invalid_value, required
from terway.lab.kubeapi.errors import Cause, forbidden
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.webhooks.hooks import Hook, Match
from terway.lab.kubeapi.webhooks.messages import admission_review
from terway.lab.kubeapi.webhooks.reviews import Review

_VARIABLES = frozenset({"object", "oldObject", "request"})
_MOST = 64
_SENT_ONLY = ("uid", "object", "oldObject")  # of a request, what no condition sees there


def validate_conditions(conditions: list[Mapping[str, Any]], path: str) -> Iterator[Cause]:
    """Yield what is wrong with a webhook's conditions."""
    if len(conditions) > _MOST:
        message = f"Too many: {len(conditions)}: must have at most {_MOST} items"
        yield Cause(field=path, reason="FieldValueTooMany", message=message)
    seen: set[str] = set()
    for index, one in enumerate(conditions):
        where, name = f"{path}[{index}]", str(one.get("name") or "")
        yield from _expression(str(one.get("expression") or "").strip(), f"{where}.expression")
        if not name:
            yield required(f"{where}.name")
        elif not names.is_qualified_name(name):
            yield invalid_value(f"{where}.name", name, names.QUALIFIED_MESSAGE)
        elif name in seen:
            yield duplicate_value(f"{where}.name", name)
        seen.add(name)


def _expression(text: str, path: str) -> Iterator[Cause]:
    # Only who has an expression pays for the language.
    from terway.lab.kubeapi.cel.program import compile_program
    from terway.lab.kubeapi.cel.tokens import CompileError

    if not text:
        yield required(path)
        return
    try:
        program = compile_program(text, _VARIABLES)
    except CompileError as error:
        yield invalid_value(path, text, f"compilation failed: {error}")
        return
    if program.type != "bool":
        yield invalid_value(path, text, "must evaluate to bool")


def meets_conditions(review: Review, match: Match, user: Identity) -> bool:
    """Say whether the webhook is to be asked.

    Raises ApiError where a condition has no value, and the webhook's policy is to fail.
    """
    conditions = match.hook.spec.get("matchConditions")
    if not conditions:
        return True
    sent = admission_review(review, match, user, "")["request"]
    variables = {
        "object": sent.get("object"),
        "oldObject": sent.get("oldObject"),
        "request": {name: held for name, held in sent.items() if name not in _SENT_ONLY},
    }
    troubles: list[str] = []
    for one in conditions:
        found = _value(str(one["expression"]), variables)
        if found is False:
            return False
        if isinstance(found, str):
            troubles.append(found)
    if troubles:
        return _failed(review, match.hook, troubles)
    return True


def _value(text: str, variables: Mapping[str, Any]) -> bool | str:
    """Return the value, or what the error says."""
    from terway.lab.kubeapi.cel.program import compile_program
    from terway.lab.kubeapi.cel.values import EvaluationError

    try:
        return compile_program(text.strip(), _VARIABLES).evaluate(variables) is True
    except EvaluationError as error:
        return f"expression '{text}' resulted in error: {error}"


def _failed(review: Review, hook: Hook, troubles: list[str]) -> bool:
    if hook.is_ignorable:
        return False
    told = troubles[0] if len(troubles) == 1 else f"[{', '.join(troubles)}]"
    raise forbidden(review.resource, review.name, told)
