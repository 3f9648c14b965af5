"""What do the policies say to a connection? The truth that everything else is tested against.

A transcription of the API's text, without caches or shortcuts. For one side of one pod:

    the same pod at both ends, and no service between        ─► yes
    the other end is the pod's node, and opens to the pod    ─► yes
    Admin tier, first rule that matches     Accept ─► yes    Deny ─► no    Pass ─► go on
    NetworkPolicies that select the pod in this direction
        the other end is the pod's node, or the pod itself   ─► yes
        any rule of any of them matches                      ─► yes;  otherwise  ─► no
    there are none: Baseline tier           Accept ─► yes    Deny ─► no    Pass ─► go on
    nobody said anything                                     ─► yes

Both sides must say yes. Sources: Kubernetes API reference, NetworkPolicy v1;
policy.networking.k8s.io/v1alpha2; docs/design/policy.md for what they leave open.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import assert_never

from terway.model.selector import Labels
from terway.policy.cluster import Cluster, Pod
from terway.policy.ends import Party, parties_of
from terway.policy.flow import Because, Flow, Judgement, Verdict
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Direction,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Port,
    PortName,
    PortRange,
    Rule,
    Tier,
    UnknownPeer,
)


def evaluate(cluster: Cluster, policies: Collection[Policy], flow: Flow) -> Verdict:
    """Return what both sides say to `flow`, and why.

    Raises UsageError for an end that is not there, or has no address of the family.
    """
    source, destination = parties_of(cluster, flow)
    egress, ingress = None, None
    if source.pod is not None:
        side = _Side(Direction.EGRESS, source.pod, destination, destination, cluster, flow)
        egress = _judge(side, policies)
    if destination.pod is not None:
        side = _Side(Direction.INGRESS, destination.pod, source, destination, cluster, flow)
        ingress = _judge(side, policies)
    return Verdict(egress=egress, ingress=ingress)


@dataclass(frozen=True, slots=True)
class _Side:
    """One pod's side of a connection: what every question below is about."""

    direction: Direction
    pod: Pod
    other: Party
    destination: Party
    cluster: Cluster
    flow: Flow

    @property
    def is_self(self) -> bool:
        return self.other.pod is not None and self.other.pod.key == self.pod.key

    @property
    def is_own_node(self) -> bool:
        return self.pod.node is not None and self.pod.node in self.other.nodes

    def says(
        self,
        is_allowed: bool,
        because: Because,
        policy: Policy | None = None,
        rule: Rule | None = None,
        isolating: int = 0,
    ) -> Judgement:
        return Judgement(
            direction=self.direction,
            pod=self.pod.key,
            is_allowed=is_allowed,
            because=because,
            policy=None if policy is None else policy.key,
            rule=None if rule is None else rule.index,
            rule_name="" if rule is None else rule.name,
            isolating=isolating,
        )


def _judge(side: _Side, policies: Collection[Policy]) -> Judgement:
    if side.is_self and not side.flow.via_service:
        return side.says(True, Because.SELF)
    # No peer of an ingress rule can be a node, and a probe must not fall for an unreadable rule.
    if side.is_own_node and side.direction is Direction.INGRESS:
        return side.says(True, Because.OWN_NODE)
    return (
        _judge_by_tier(side, policies, Tier.ADMIN)
        or _judge_by_network_policies(side, policies)
        or _judge_by_tier(side, policies, Tier.BASELINE)
        or side.says(True, Because.DEFAULT)
    )


def _judge_by_tier(side: _Side, policies: Collection[Policy], tier: Tier) -> Judgement | None:
    """Return what the first rule of the tier says that matches; None goes on behind the tier."""
    in_tier = [p for p in policies if isinstance(p, ClusterPolicy) and p.tier is tier]
    for policy in sorted(in_tier, key=lambda policy: policy.rank):
        if not _is_pod(policy.subject, side.pod, side.cluster):
            continue
        rules = policy.ingress if side.direction is Direction.INGRESS else policy.egress
        for rule in rules:
            if _fails_closed(rule):
                return side.says(False, Because.FAULT, policy, rule)
            if _matches(rule, side):
                if rule.action is Action.PASS:
                    return None
                return side.says(rule.action is Action.ACCEPT, Because.RULE, policy, rule)
    return None


def _judge_by_network_policies(side: _Side, policies: Collection[Policy]) -> Judgement | None:
    """Return what NetworkPolicies say together; None where none of them isolates the pod."""
    isolating = sorted(
        (p for p in policies if isinstance(p, NetworkPolicy) and _isolates(p, side)),
        key=lambda policy: policy.key.name,
    )
    if not isolating:
        return None
    count = len(isolating)
    if side.is_own_node:
        return side.says(True, Because.OWN_NODE, isolating=count)
    if side.is_self:
        return side.says(True, Because.SELF, isolating=count)
    for policy in isolating:
        for rule in _rules_of(policy, side) or ():
            if _matches(rule, side):
                return side.says(True, Because.RULE, policy, rule, count)
    faulty = next((policy for policy in isolating if policy.fault), None)
    if faulty is not None:
        return side.says(False, Because.FAULT, faulty, isolating=count)
    return side.says(False, Because.ISOLATED, isolating[0], isolating=count)


def _isolates(policy: NetworkPolicy, side: _Side) -> bool:
    return (
        policy.key.namespace == side.pod.key.namespace
        and policy.pods.matches(side.pod.labels)
        and _rules_of(policy, side) is not None
    )


def _rules_of(policy: NetworkPolicy, side: _Side) -> tuple[Rule, ...] | None:
    return policy.ingress if side.direction is Direction.INGRESS else policy.egress


def _fails_closed(rule: Rule) -> bool:
    """Return whether the rule denies everybody: nobody knows whom it meant to deny or pass."""
    unknown = any(isinstance(peer, UnknownPeer) for peer in rule.peers or ())
    return unknown and rule.action is not Action.ACCEPT


def _matches(rule: Rule, side: _Side) -> bool:
    is_peer = rule.peers is None or any(_is_peer(peer, side) for peer in rule.peers)
    is_port = rule.ports is None or any(_is_port(port, side) for port in rule.ports)
    return is_peer and is_port


def _is_peer(peer: Peer, side: _Side) -> bool:
    match peer:
        case PodPeer():
            return side.other.pod is not None and _is_pod(peer, side.other.pod, side.cluster)
        case BlockPeer(block=block, excepts=excepts):
            address = side.other.address
            return address in block and not any(address in hole for hole in excepts)
        case NodePeer(nodes=selector):
            known = (side.cluster.nodes.get(name) for name in side.other.nodes)
            return any(node is not None and selector.matches(node.labels) for node in known)
        case UnknownPeer():
            return False
        case _:
            assert_never(peer)


def _is_pod(peer: PodPeer, pod: Pod, cluster: Cluster) -> bool:
    if isinstance(peer.namespaces, str):
        return pod.key.namespace == peer.namespaces and peer.pods.matches(pod.labels)
    labels = _namespace_labels(pod, cluster)
    return peer.namespaces.matches(labels) and peer.pods.matches(pod.labels)


def _namespace_labels(pod: Pod, cluster: Cluster) -> Labels:
    namespace = cluster.namespaces.get(pod.key.namespace)
    return {} if namespace is None else namespace.labels


def _is_port(port: Port, side: _Side) -> bool:
    """Return whether the destination's port is meant; a name is one of the pod's that has it."""
    flow = side.flow
    match port:
        case PortRange(protocol=protocol, first=first, last=last):
            return flow.protocol is protocol and first <= flow.port <= last
        case PortName(name=name, protocol=protocol):
            pod = side.destination.pod
            return pod is not None and any(
                own.name == name
                and own.port == flow.port
                and own.protocol is flow.protocol
                and protocol in (None, own.protocol)
                for own in pod.ports
            )
        case _:
            assert_never(port)
