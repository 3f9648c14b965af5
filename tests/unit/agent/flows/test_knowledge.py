"""Who has an address, where the API does not know it yet, or two say that it is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address

from terway.agent.flows.knowledge import ClusterKnowledge
from terway.model.address import IPPair
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Node, Pod, PodKey
from terway.policy.policies import Policy

ADDRESS = IPv4Address("10.0.0.1")


def pod(name: str, *, created_at: str = "", is_finished: bool = False, **more: object) -> Pod:
    key = PodKey(namespace="web", name=name)
    addresses = () if more.get("is_new") else (ADDRESS,)
    return Pod(key=key, addresses=addresses, created_at=created_at, is_finished=is_finished)


@dataclass
class Heard:
    pods: dict[PodKey, Pod] = field(default_factory=dict)
    attached: Mapping[PodKey, IPPair] = field(default_factory=dict)

    def put(self, *pods: Pod) -> Heard:
        self.pods |= {one.key: one for one in pods}
        return self

    def cluster(self) -> Cluster:
        node = Node(name=NodeName("node-1"), addresses=(ip_address("192.168.0.1"),))
        return Cluster(pods=self.pods, nodes={node.name: node})

    def selecting(self, _key: PodKey) -> tuple[Policy, ...]:
        return ()


def owner(heard: Heard) -> str:
    return str(ClusterKnowledge(heard, now=lambda: 0.0).end_of(ADDRESS))


def test_a_pod_that_has_just_been_attached_is_known_by_its_address():
    heard = Heard().put(pod("new", is_new=True), pod("old"))
    assert owner(heard) == "web/old"
    heard.attached = {PodKey(namespace="web", name="new"): IPPair(v4=ADDRESS)}
    assert owner(heard) == "web/new"


def test_of_two_pods_the_later_one_has_the_address_and_a_finished_one_never():
    first, second = pod("a", created_at="2026-01-01"), pod("b", created_at="2026-01-02")
    assert owner(Heard().put(second, first)) == "web/b"
    assert owner(Heard().put(first, pod("b", created_at="2026-01-02", is_finished=True))) == "web/a"


def test_an_address_is_looked_for_anew_when_its_pod_is_gone_but_not_all_the_time():
    heard = Heard().put(pod("a"))
    clock = [0.0]
    knowledge = ClusterKnowledge(heard, now=lambda: clock[0])
    assert str(knowledge.end_of(ADDRESS)) == "web/a"
    heard.pods.clear()
    heard.put(pod("b"))
    assert knowledge.end_of(ADDRESS).pod is None
    clock[0] = 2.0
    assert str(knowledge.end_of(ADDRESS)) == "web/b"


def test_a_node_and_the_outside_are_told_apart():
    knowledge = ClusterKnowledge(Heard().put(pod("a")), now=lambda: 0.0)
    assert knowledge.end_of(ip_address("192.168.0.1")).owner == "node node-1"
    assert knowledge.end_of(ip_address("192.0.2.1")).owner == "outside"
