"""What lint calls shadowed can all be taken away at once; what it does not, cannot."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from hypothesis import given, settings

from terway.policy.asking.lint_shadow import shadowed, without_rule
from terway.policy.asking.matrix_groups import world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.matrix_rules import rules_in
from terway.policy.asking.representatives import holders_of
from terway.policy.asking.representatives_any import any_holders
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow
from terway.policy.policies import Direction
from tests.property.test_policy_difference import TRIED
from tests.support.small_clusters import clusters
from tests.support.small_policies import policy_sets


def sides(cluster, policies, holders):
    """What both sides say to every flow: lint compares sides, not connections."""
    for source, destination in product(holders, holders):
        if source.family is not destination.family:
            continue
        for (protocol, port), via in product(TRIED, (False, True)):
            flow = Flow(
                source=AddressEnd(address=source.address),
                destination=AddressEnd(address=destination.address),
                protocol=protocol,
                port=port,
                via_service=via and source is destination,
            )
            verdict = evaluate(cluster, policies, flow)
            yield tuple(side and side.is_allowed for side in (verdict.egress, verdict.ingress))


def without(policies, findings):
    """The policies after everything that is reported is gone."""
    gone = {one.policy for one in findings if one.rule is None}
    kept = {policy.key: policy for policy in policies if policy.key not in gone}
    for one in findings:
        if one.rule is not None and one.policy in kept:
            kept[one.policy] = without_rule(kept[one.policy], one.direction, one.rule)
    return tuple(kept.values())


@settings(max_examples=40, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=3))
def test_all_that_is_shadowed_can_go_and_nothing_else_can(cluster, policies):
    matrix = PortMatrix(policies)
    holders = holders_of(cluster, policies)

    found = tuple(shadowed(matrix, world_of(holders, (matrix,)), scope="here"))

    left = without(policies, found)
    whole = list(sides(cluster, policies, holders))
    assert list(sides(cluster, left, holders)) == whole
    for policy, direction in product(left, Direction):
        if not any(matrix.row(one, direction) for one in holders):
            continue  # nobody is selected: that is another finding
        for rule in rules_in(policy, direction):
            less = without_rule(policy, direction, rule.index)
            fewer = tuple(less if one is policy else one for one in left)
            if is_seen(matrix, holders, policy, direction):
                assert is_different(cluster, left, fewer, holders)


def is_seen(matrix, holders, policy, direction):
    rows = {matrix.row(one, direction) for one in holders}
    return any(policy.key in {p.key for p in matrix.policies_of_row(row)} for row in rows)


def is_different(cluster, one, other, holders):
    """Whether any side differs: by the algebra, which the other test holds to `evaluate`."""
    first, second = PortMatrix(one), PortMatrix(other)
    for source, destination in product(holders, holders):
        if source.family is destination.family:
            for exempt in (False, True):
                for direction, subject, end in (
                    (Direction.EGRESS, source, destination),
                    (Direction.INGRESS, destination, source),
                ):
                    ports = [
                        m.ports(m.row(subject, direction), m.column(end), exempt=exempt)
                        for m in (first, second)
                    ]
                    if ports[0] != ports[1]:
                        return True
    return False


@settings(max_examples=40, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=2))
def test_what_is_shadowed_in_any_cluster_is_so_in_each(cluster, policies):
    doubled = (*policies, *(_named_again(one) for one in policies))
    matrix = PortMatrix(doubled)
    world = world_of(any_holders(doubled), (matrix,), is_any=True)

    found = tuple(shadowed(matrix, world, scope="in any cluster"))

    holders = holders_of(cluster, doubled)
    before = list(sides(cluster, doubled, holders))
    assert list(sides(cluster, without(doubled, found), holders)) == before
    # of two that say the same, one at least is reported
    assert len({one.policy for one in found}) >= len([p for p in policies if says_anything(p)])


def _named_again(policy):
    return replace(policy, key=replace(policy.key, name=f"{policy.key.name}-again"))


def says_anything(policy):
    return policy.ingress or policy.egress
