"""Which rules and policies could be taken away, and nothing would change? Exact, not by look.

From the last to the first: what is reported can be taken away all at once. A side of a connection
is what is compared: that the other side denies anyway shadows nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from terway.policy.asking.lint import Finding, Level
from terway.policy.asking.matrix_groups import Relation, World
from terway.policy.asking.matrix_ports import FREE, Column, PortMatrix, Row
from terway.policy.asking.matrix_rules import is_about, rules_in
from terway.policy.policies import ClusterPolicy, Direction, Policy, PolicyKey

# What a row can be asked: the other end, and whether NetworkPolicy lets it in any case.
_Questions = dict[Row, frozenset[tuple[Column, bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    matrix: PortMatrix
    questions: _Questions

    def is_same(
        self,
        row: Row,
        before: Mapping[PolicyKey, Policy | None],
        after: dict[PolicyKey, Policy | None],
    ) -> bool:
        old, new = self.matrix.row_with(row, before), self.matrix.row_with(row, after)
        return old == new or all(
            self.matrix.ports(old, column, exempt=exempt)
            == self.matrix.ports(new, column, exempt=exempt)
            for column, exempt in self.questions[row]
        )


def shadowed(
    matrix: PortMatrix, world: World, *, scope: str, looked_at: Iterable[Policy] | None = None
) -> Iterator[Finding]:
    """Yield the policies and rules without which everything would be the same, in `world`.

    `looked_at`: only of these.
    """
    ground = _Ground(matrix=matrix, questions=_questions(world))
    rows = _rows_of(ground)
    gone: dict[PolicyKey, Policy | None] = {}
    for policy in reversed(matrix.policies if looked_at is None else tuple(looked_at)):
        mine = rows.get(policy.key, ())
        if not mine and world.is_any and any(is_about(policy, one) for one in Direction):
            yield _impossible(policy)
        elif mine and _can_go(ground, mine, gone, policy.key, None):
            gone[policy.key] = None
            yield _policy_finding(policy, scope)
        else:
            yield from _rules(ground, mine, gone, policy, scope)


def _rules(
    ground: _Ground,
    rows: Iterable[Row],
    gone: dict[PolicyKey, Policy | None],
    policy: Policy,
    scope: str,
) -> Iterator[Finding]:
    rows = tuple(rows)
    left = policy
    for direction in Direction:
        for rule in reversed(rules_in(policy, direction)):
            less = without_rule(left, direction, rule.index)
            if rows and _can_go(ground, rows, gone, policy.key, less):
                left = less
                gone[policy.key] = less
                yield _rule_finding(policy, direction, rule.index, scope)


def _can_go(
    ground: _Ground,
    rows: Iterable[Row],
    gone: Mapping[PolicyKey, Policy | None],
    key: PolicyKey,
    instead: Policy | None,
) -> bool:
    after = {**gone, key: instead}
    return all(ground.is_same(row, gone, after) for row in rows)


def without_rule(policy: Policy, direction: Direction, index: int) -> Policy:
    """Return the policy without one rule; it isolates as before."""
    rules = tuple(one for one in rules_in(policy, direction) if one.index != index)
    if direction is Direction.INGRESS:
        return replace(policy, ingress=rules)
    return replace(policy, egress=rules)


def _rows_of(ground: _Ground) -> dict[PolicyKey, list[Row]]:
    rows: dict[PolicyKey, list[Row]] = defaultdict(list)
    for row in ground.questions:
        for policy in ground.matrix.policies_of_row(row):
            rows[policy.key].append(row)
    return rows


def _questions(world: World) -> _Questions:
    asked: dict[Row, set[tuple[Column, bool]]] = defaultdict(set)
    if world.is_any:
        every = {(one.columns[0], exempt) for one in world.groups for exempt in (False, True)}
        rows = {row for one in world.groups for row in (one.egress[0], one.ingress[0])}
        return {row: frozenset(every) for row in rows - {FREE}}
    for pair in world.pairs():
        exempt = pair.relation is not Relation.STRANGERS
        asked[pair.source.egress[0]].add((pair.destination.columns[0], exempt))
        asked[pair.destination.ingress[0]].add((pair.source.columns[0], exempt))
    return {row: frozenset(found) for row, found in asked.items() if row != FREE}


def _impossible(policy: Policy) -> Finding:
    return Finding(
        code="impossible",
        level=Level.WARNING,
        policy=policy.key,
        text="no pod can ever be selected: what its selectors ask for contradicts itself",
        remedy="take one of the conditions on the same label away",
    )


def _policy_finding(policy: Policy, scope: str) -> Finding:
    return Finding(
        code="shadowed",
        level=Level.WARNING,
        policy=policy.key,
        text=f"{scope}, nothing would change without it: others say the same, or decide before it",
        remedy="delete it, or change what it was meant to add",
    )


def _rule_finding(policy: Policy, direction: Direction, index: int, scope: str) -> Finding:
    is_cluster = isinstance(policy, ClusterPolicy)
    before = "rules before it decide all that it matches" if is_cluster else "other rules allow it"
    return Finding(
        code="shadowed-rule",
        level=Level.WARNING,
        policy=policy.key,
        direction=direction,
        rule=index,
        text=f"{scope}, nothing would change without the rule: {before}",
        remedy="delete the rule, or move it before the others" if is_cluster else "delete the rule",
    )
