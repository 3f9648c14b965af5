"""How is a verdict told to people?"""

from __future__ import annotations

from terway.policy.flow import Because, Judgement, Verdict
from terway.policy.policies import Direction

_OTHER_END = {Direction.INGRESS: "the source", Direction.EGRESS: "the destination"}

_PLAIN = {
    Because.SELF: "a pod cannot block itself",
    Because.DEFAULT: "no policy says anything about it",
}


def describe(verdict: Verdict) -> str:
    """Return a verdict in one or two sentences: why not, or why."""
    sides = [side for side in (verdict.egress, verdict.ingress) if side is not None]
    if not sides:
        return "Allowed: neither end is a pod that policies could select."
    telling = [side for side in sides if not side.is_allowed] or sides
    return " ".join(f"{_capital(describe_judgement(side))}." for side in telling)


def describe_judgement(judgement: Judgement) -> str:
    """Return what one side says: `denied on ingress of shop/web: …`, without a full stop."""
    outcome = "allowed" if judgement.is_allowed else "denied"
    where = f"{judgement.direction.value.lower()} of {judgement.pod}"
    return f"{outcome} on {where}: {_reason(judgement)}"


def _reason(judgement: Judgement) -> str:
    match judgement.because:
        case Because.RULE:
            return f"{_rule_of(judgement)} {'allows' if judgement.is_allowed else 'denies'} it"
        case Because.ISOLATED:
            return f"{judgement.policy} isolates the pod, and {_no_rule(judgement)} matches"
        case Because.FAULT:
            what = f"{judgement.policy}" if judgement.rule is None else _rule_of(judgement)
            return f"{what} cannot be read, and so nothing is allowed"
        case Because.OWN_NODE:
            return f"{_OTHER_END[judgement.direction]} is the pod's own node"
        case Because.SELF | Because.DEFAULT:
            return _PLAIN[judgement.because]


def _rule_of(judgement: Judgement) -> str:
    """Return the rule as its manifest counts it: by its place in the list, and its name."""
    place = f"rule {judgement.direction.value.lower()}[{judgement.rule}]"
    name = f" ({judgement.rule_name})" if judgement.rule_name else ""
    return f"{place}{name} of {judgement.policy}"


def _no_rule(judgement: Judgement) -> str:
    if judgement.isolating > 1:
        return f"no rule of the {judgement.isolating} policies that select it"
    return "none of its rules"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
