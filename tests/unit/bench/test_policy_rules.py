"""What stands beside our policies says the same: by Felix's chains, one policy after the other."""

from __future__ import annotations

import pytest
from bench.policy_iptables import felix_rules
from bench.policy_world import NODE, SERVER, Shape, world_of

from terway.model.selector import Labels
from terway.policy.cluster import PodKey
from terway.policy.policies import NetworkPolicy, PodPeer

LINKS = {
    pod.key: f"cali{number:03}"
    for number, pod in enumerate(
        pod for pod in world_of(0, Shape.WORST).cluster.pods.values() if pod.node == NODE
    )
}


def lets_in(policy: NetworkPolicy, labels: Labels) -> bool:
    assert policy.ingress is not None
    (peer,) = policy.ingress[0].peers or ()
    assert isinstance(peer, PodPeer)
    return peer.pods.matches(labels)


def selecting(count: int, shape: Shape, pod: PodKey) -> int:
    world = world_of(count, shape)
    labels = world.cluster.pods[pod].labels
    return sum(
        policy.key.namespace == pod.namespace and policy.pods.matches(labels)
        for policy in world.policies
    )


@pytest.mark.parametrize("count", [10, 1_000])
def test_in_the_worst_case_every_policy_selects_the_server(count):
    assert selecting(count, Shape.WORST, SERVER) == count


def test_policies_that_are_spread_select_few_each():
    assert selecting(1_000, Shape.SPREAD, SERVER) == 5
    assert selecting(1_000, Shape.SPREAD, PodKey(namespace="team-7", name="app")) == 5


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("count", [10, 1_000])
def test_one_policy_lets_the_client_in_and_it_is_neither_first_nor_last(count, shape):
    world = world_of(count, shape)
    client = PodKey(namespace="shop", name="client")
    labels = world.cluster.pods[client].labels
    ours = [one for one in world.policies if one.key.namespace == SERVER.namespace]
    matching = [lets_in(one, labels) for one in ours]

    assert sum(matching) == 1
    assert 0 < matching.index(True) < len(ours) - 1


def test_a_new_connection_is_asked_of_one_policy_after_the_other():
    lines = felix_rules(world_of(10, Shape.WORST), LINKS, NODE).iptables.splitlines()
    way_in = [line for line in lines if line.startswith(f"-A cali-tw-{LINKS[SERVER]} ")]

    jumps = [line.split()[-1] for line in way_in if " -j cali-pi-" in line]
    assert "ESTABLISHED -j ACCEPT" in way_in[0]
    assert jumps == [f"cali-pi-allow-{number:05}" for number in range(10)]
    assert way_in[-1].endswith("-j DROP")


def test_a_policy_accepts_its_peers_on_its_port():
    rules = felix_rules(world_of(10, Shape.WORST), LINKS, NODE)

    assert (
        "-A cali-pi-allow-00005 -p tcp -m set --match-set cali40s-allow-00005-0 src"
        " -m multiport --dports 5201 -j MARK --set-xmark 0x10000/0x10000"
    ) in rules.iptables.splitlines()
    assert "add cali40s-allow-00005-0 10.2.0.2" in rules.ipsets.splitlines()


def test_a_pod_that_no_policy_selects_is_open():
    lines = felix_rules(world_of(10, Shape.WORST), LINKS, NODE).iptables.splitlines()
    neighbour = LINKS[PodKey(namespace="team-7", name="app")]

    assert [line for line in lines if line.startswith(f"-A cali-tw-{neighbour} ")][-1].endswith(
        "-j MARK --set-xmark 0x10000/0x10000"
    )
