"""What is told of one pod is what `evaluate` says of it and each other end."""

from __future__ import annotations

from hypothesis import given, settings

from terway.policy.asking.explain_pod import sums
from terway.policy.asking.representatives import holders_of
from terway.policy.cluster import Protocol
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow
from terway.policy.policies import Direction
from tests.support.small_clusters import PORTS, clusters
from tests.support.small_policies import policy_sets

TRIED = [(Protocol.TCP, port) for port in (*PORTS, 54)] + [(Protocol.UDP, 80), (Protocol.OTHER, 0)]


@settings(max_examples=60, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=3))
def test_whom_a_pod_is_said_to_reach_and_to_be_reached_by_is_so_for_each_of_them(cluster, policies):
    """Of several nodes, only the pod's own is always open."""
    holders = holders_of(cluster, policies)

    for mine, pod in ((one, one.pod) for one in holders if one.pod is not None):
        for found in sums(policies, holders, pod.key):
            for reach, other in others_of(found, mine.family):
                ends = (AddressEnd(address=mine.address), AddressEnd(address=other.address))
                source, destination = ends if found.direction is Direction.EGRESS else ends[::-1]
                for protocol, port in TRIED:
                    flow = Flow(
                        source=source, destination=destination, protocol=protocol, port=port
                    )
                    wanted = evaluate(cluster, policies, flow).is_allowed
                    assert reach.ports.has(protocol, port) is wanted


def others_of(found, family):
    """Yield what is said of each other end of a family."""
    for reach in found.reaches:
        for group in reach.others:
            yield from ((reach, one) for one in group.holders if one.family is family)


@settings(max_examples=60, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=3))
def test_each_other_end_is_told_of_once(cluster, policies):
    holders = holders_of(cluster, policies)

    for key in {one.pod.key for one in holders if one.pod is not None}:
        for found in sums(policies, holders, key):
            told = [
                one for reach in found.reaches for group in reach.others for one in group.holders
            ]
            assert len(told) == len({id(one) for one in told})
