"""Which policies are traps as they are written, whoever is in the cluster?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from terway.model.selector import EVERYTHING, Selector
from terway.policy.asking.lint import Finding, Level
from terway.policy.asking.lint_labels import impossible_labels
from terway.policy.asking.matrix_rules import rules_in
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Direction,
    NetworkPolicy,
    PodPeer,
    Policy,
    PolicyKey,
    Rule,
)


def misleading(policies: Iterable[Policy]) -> Iterator[Finding]:
    """Yield what can be said of policies by reading them alone."""
    policies = tuple(policies)
    for policy in policies:
        yield from _unreadable(policy)
        yield from impossible_labels(policy)
        for direction in Direction:
            for rule in rules_in(policy, direction):
                yield from _rule(policy, direction, rule)
        if isinstance(policy, NetworkPolicy):
            yield from _closes_ingress(policy)
    yield from _equal_priorities(policies)
    yield from _same_subject(policies)


def _unreadable(policy: Policy) -> Iterator[Finding]:
    texts = [policy.fault] if policy.fault else []
    texts += policy.cautions if isinstance(policy, ClusterPolicy) else policy.more_faults
    for text in dict.fromkeys(texts):
        yield Finding(
            code="closed",
            level=Level.WARNING,
            policy=policy.key,
            text=f"cannot be enforced as written, and so is closed: {text}",
            remedy="write what the message asks for",
        )


def _rule(policy: Policy, direction: Direction, rule: Rule) -> Iterator[Finding]:
    def finding(code: str, text: str, remedy: str) -> Finding:
        return Finding(
            code=code,
            level=Level.NOTE,
            policy=policy.key,
            direction=direction,
            rule=rule.index,
            text=text,
            remedy=remedy,
        )

    if isinstance(policy, NetworkPolicy) and rule.peers is None:
        if rule.ports is None:
            text = "the rule allows everybody on every port: the policy restricts nothing there"
            yield finding("allows-everything", text, "name peers or ports, or drop the direction")
        return
    if any(_is_everybody(peer) for peer in rule.peers or ()):
        if isinstance(policy, NetworkPolicy):
            text = "an empty namespaceSelector is every pod of the cluster, but nobody outside"
            yield finding("every-pod", text, "if outside is meant, too, add an ipBlock")
        elif rule.ports is None and rule.action is Action.ACCEPT:
            text = "the rule accepts every pod on every port, before any NetworkPolicy is asked"
            yield finding("allows-everything", text, "name pods or ports, or let it Pass")


def _is_everybody(peer: object) -> bool:
    return isinstance(peer, PodPeer) and peer.namespaces == EVERYTHING and peer.pods == EVERYTHING


def _closes_ingress(policy: NetworkPolicy) -> Iterator[Finding]:
    if policy.ingress == () and policy.egress and not policy.fault:
        yield Finding(
            code="closes-ingress",
            level=Level.NOTE,
            policy=policy.key,
            text="it has rules for egress only, and still closes ingress",
            remedy="if it is about egress alone, write policyTypes: [Egress]",
        )


def _equal_priorities(policies: Iterable[Policy]) -> Iterator[Finding]:
    placed: dict[object, list[ClusterPolicy]] = defaultdict(list)
    for one in policies:
        if isinstance(one, ClusterPolicy):
            placed[one.tier, one.priority].append(one)
    for found in placed.values():
        for one in found if len(found) > 1 else ():
            names = ", ".join(other.key.name for other in found if other is not one)
            yield Finding(
                code="equal-priority",
                level=Level.WARNING,
                policy=one.key,
                text=f"priority {one.priority} of tier {one.tier.value} is also that of {names}: "
                "the API does not say who goes first (here: by name)",
                remedy="give each a priority of its own",
            )


def _same_subject(policies: Iterable[Policy]) -> Iterator[Finding]:
    selecting: dict[tuple[str, Selector], list[PolicyKey]] = defaultdict(list)
    for one in policies:
        if isinstance(one, NetworkPolicy):
            selecting[one.key.namespace, one.pods].append(one.key)
    for keys in selecting.values():
        for key in keys if len(keys) > 1 else ():
            names = ", ".join(other.name for other in keys if other != key)
            yield Finding(
                code="overlap",
                level=Level.NOTE,
                policy=key,
                text=f"selects exactly the pods of {names}, too: their rules add up",
                remedy="make one of them, so that a reader sees all that is allowed",
            )
