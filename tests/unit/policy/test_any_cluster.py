"""A packet that tells two sets of policies apart in some cluster does so in the cluster shown."""

from __future__ import annotations

import pytest

from terway.model.selector import EVERYTHING
from terway.policy.asking.equality import counter_example
from terway.policy.asking.representatives_any import any_holders
from terway.policy.evaluate import evaluate
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Kind,
    NetworkPolicy,
    NodePeer,
    PodPeer,
    Policy,
    PolicyKey,
    Rule,
    Tier,
)

ISOLATED = NetworkPolicy(
    key=PolicyKey(kind=Kind.NETWORK, namespace="shop", name="none"), pods=EVERYTHING, egress=()
)
# Of any pod, to any node.
NO_NODES = ClusterPolicy(
    key=PolicyKey(kind=Kind.CLUSTER, name="no-nodes"),
    tier=Tier.ADMIN,
    priority=1,
    subject=PodPeer(namespaces=EVERYTHING, pods=EVERYTHING),
    ingress=(),
    egress=(Rule(index=0, peers=(NodePeer(nodes=EVERYTHING),), ports=None, action=Action.DENY),),
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param((), (NO_NODES,), id="any node"),
        pytest.param((ISOLATED,), (ISOLATED, NO_NODES), id="the pod's own node"),
    ],
)
def test_a_packet_to_a_node_has_the_address_of_that_node(
    old: tuple[Policy, ...], new: tuple[Policy, ...]
) -> None:
    packet = counter_example(any_holders((*old, *new)), old, new, is_any=True)

    assert packet is not None
    assert packet.source.address != packet.destination.address
    assert evaluate(packet.cluster, old, packet.flow).is_allowed
    assert not evaluate(packet.cluster, new, packet.flow).is_allowed
