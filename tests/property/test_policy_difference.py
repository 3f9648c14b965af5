"""The finite answers about policies hold for every flow that `evaluate` can be asked about."""

from __future__ import annotations

from itertools import product

from hypothesis import given, reject, settings

from terway.model.address import Family, family_of
from terway.model.errors import UsageError
from terway.policy.asking.difference import changes, differences
from terway.policy.asking.equality import counter_example
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.representatives import holders_of
from terway.policy.asking.representatives_any import any_holders
from terway.policy.cluster import Protocol
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, End, Flow, PodEnd
from tests.support.small_clusters import OUTSIDE, PORTS, clusters
from tests.support.small_policies import policy_sets

TRIED = [(protocol, port) for protocol in (Protocol.TCP, Protocol.UDP) for port in (*PORTS, 54)]
TRIED += [(Protocol.SCTP, 80), (Protocol.SCTP, 1), (Protocol.OTHER, 0), (Protocol.TCP, 65535)]


def all_flows(cluster):
    """Every flow of a small cluster that differs for some policy of ours."""
    own = [pod for pod in cluster.pods.values() if not (pod.is_host_network or pod.is_finished)]
    pods = [PodEnd(pod=pod.key) for pod in own]
    hosts = [AddressEnd(address=a) for node in cluster.nodes.values() for a in node.addresses]
    far = [AddressEnd(address=address) for address in OUTSIDE]
    ends: list[End] = [*pods, *hosts, *far]
    for (source, destination), family in product(product(ends, ends), Family):
        if all(has(cluster, end, family) for end in (source, destination)):
            for (protocol, port), via in product(TRIED, (False, True)):
                if not via or (source == destination and isinstance(source, PodEnd)):
                    yield Flow(
                        source=source,
                        destination=destination,
                        protocol=protocol,
                        port=port,
                        family=family,
                        via_service=via,
                    )


def has(cluster, end, family):
    addresses = cluster.pods[end.pod].addresses if isinstance(end, PodEnd) else (end.address,)
    return any(family_of(address) is family for address in addresses)


def is_allowed(cluster, policies, flow):
    return evaluate(cluster, policies, flow).is_allowed


@settings(max_examples=60, deadline=None)
@given(clusters(), policy_sets())
def test_the_algebra_of_ports_says_what_evaluate_says(cluster, policies):
    matrix = PortMatrix(policies)
    holders = holders_of(cluster, policies)

    for source, destination in product(holders, holders):
        if source.family is not destination.family:
            continue
        ports = matrix.between(source, destination)
        for protocol, port in TRIED:
            flow = Flow(
                source=AddressEnd(address=source.address),
                destination=AddressEnd(address=destination.address),
                protocol=protocol,
                port=port,
            )
            assert ports.has(protocol, port) is is_allowed(cluster, policies, flow)


@settings(max_examples=60, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=3), policy_sets(most=3))
def test_sets_of_policies_are_equal_exactly_when_no_flow_tells_them_apart(cluster, old, new):
    holders = holders_of(cluster, (*old, *new))

    packet = counter_example(holders, old, new)

    if packet is None:
        for flow in all_flows(cluster):
            assert is_allowed(cluster, old, flow) is is_allowed(cluster, new, flow)
    else:
        told = [is_allowed(cluster, policies, packet.flow) for policies in (old, new)]
        assert told[0] is not told[1]


@settings(max_examples=60, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=3), policy_sets(most=3))
def test_each_difference_has_a_packet_that_shows_it(cluster, old, new):
    found = differences(changes(holders_of(cluster, (*old, *new)), old, new))

    for one in found:
        assert is_allowed(cluster, new, one.packet.flow) is one.is_allowed
        assert is_allowed(cluster, old, one.packet.flow) is not one.is_allowed
        # and the two ends alone are enough to show it
        assert is_allowed(one.packet.cluster, new, one.packet.flow) is one.is_allowed
        assert is_allowed(one.packet.cluster, old, one.packet.flow) is not one.is_allowed


@settings(max_examples=60, deadline=None)
@given(clusters(max_pods=3), policy_sets(most=2), policy_sets(most=2))
def test_what_is_equal_in_any_cluster_is_equal_in_each(cluster, old, new):
    holders = any_holders((*old, *new))

    packet = counter_example(holders, old, new, is_any=True)

    if packet is None:
        assert counter_example(holders_of(cluster, (*old, *new)), old, new) is None
    else:
        told = [is_allowed(packet.cluster, policies, packet.flow) for policies in (old, new)]
        assert told[0] is not told[1]


@settings(max_examples=30, deadline=None)
@given(policy_sets(most=3))
def test_a_set_equals_itself_in_whatever_order(policies):
    try:
        holders = any_holders(policies)
    except UsageError:
        reject()  # too many kinds of pods to enumerate

    assert counter_example(holders, policies, tuple(reversed(policies)), is_any=True) is None
