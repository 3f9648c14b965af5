"""Pods and nodes of a case come to nodes of the lab such that the own-node rule means the same."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.lab.policy.placement import Need, Placement, check_room, place
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Node, Pod, PodKey
from terway.policy.flow import AddressEnd, Flow, NodeEnd, PodEnd

LAB = ("node-1", "node-2", "node-3")


def pod(name: str, node: str | None = None, **more) -> Pod:
    found = None if node is None else NodeName(node)
    return Pod(key=PodKey(namespace="x", name=name), node=found, **more)


def cluster(*pods: Pod, nodes: tuple[Node, ...] = ()) -> Cluster:
    return Cluster(pods={one.key: one for one in pods}, nodes={node.name: node for node in nodes})


def to_node(source: Pod, name: str) -> Flow:
    return Flow(source=PodEnd(pod=source.key), destination=NodeEnd(node=NodeName(name)), port=80)


def placed(found: Placement | Need) -> Placement:
    assert isinstance(found, Placement)
    return found


def test_pods_without_a_node_are_spread_and_come_to_the_same_nodes_again():
    pods = [pod(name) for name in "abcd"]

    first = placed(place(cluster(*pods), (), LAB, per_node=45))
    again = placed(place(cluster(*reversed(pods)), (), LAB, per_node=45))

    assert first == again
    assert set(first.pods.values()) == set(LAB)


def test_a_pod_without_a_node_is_never_where_the_case_probes_from_or_to_a_node():
    a, b = pod("a"), pod("b")

    found = placed(place(cluster(a, b), [to_node(a, "n1")], LAB, per_node=45))

    assert found.nodes[NodeName("n1")] not in found.pods.values()


def test_a_node_that_is_probed_by_its_address_counts_as_well():
    a = pod("a")
    node = Node(name=NodeName("n1"), addresses=(ip_address("172.31.0.1"),))
    end = AddressEnd(address=ip_address("172.31.0.1"))
    flow = Flow(source=PodEnd(pod=a.key), destination=end, port=80)

    found = placed(place(cluster(a, nodes=(node,)), [flow], LAB, per_node=45))

    assert found.pods[a.key] != found.nodes[NodeName("n1")]


def test_a_pod_on_the_hosts_network_without_a_node_has_one_for_itself():
    a, host = pod("a"), pod("h", is_host_network=True)

    found = placed(place(cluster(a, host), (), LAB, per_node=45))

    assert found.pods[a.key] != found.pods[host.key]


def test_nodes_of_the_case_are_different_nodes_of_the_lab():
    pods = [pod("a", "n1"), pod("b", "n2"), pod("c", "n3")]

    found = placed(place(cluster(*pods), (), LAB, per_node=45))

    assert set(found.pods.values()) == set(LAB)


def test_it_says_how_many_nodes_it_needs():
    pods = [pod("a", "n1"), pod("b", "n2"), pod("h", is_host_network=True), pod("c")]

    assert place(cluster(*pods), [to_node(pods[0], "n1")], LAB, per_node=45) == Need(nodes=4)
    assert place(cluster(*(pod(str(n)) for n in range(15))), (), (), per_node=7) == Need(nodes=3)


def test_more_pods_than_a_node_takes_are_refused_with_a_larger_type():
    pods = [pod(str(number), "n1") for number in range(8)]
    found = placed(place(cluster(*pods), (), LAB, per_node=4))

    with pytest.raises(UsageError, match=r"8 pods on one node.*--exclusive-type"):
        check_room(found, cluster(*pods), dict.fromkeys(LAB, 7))
