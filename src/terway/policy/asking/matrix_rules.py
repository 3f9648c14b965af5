"""What does one rule mean for one other end: is it meant, and on which ports?"""

from __future__ import annotations

from terway.policy.asking.representatives import Holder
from terway.policy.cluster import NamedPort
from terway.policy.policies import (
    Action,
    Direction,
    NetworkPolicy,
    PodPeer,
    Policy,
    Port,
    PortName,
    Rule,
    UnknownPeer,
)
from terway.policy.ports import EVERY_PORT, PortSet, ports_of, union

Names = tuple[NamedPort, ...]  # of the destination


def rules_in(policy: Policy, direction: Direction) -> tuple[Rule, ...]:
    """Return the rules of one direction; none where it is not the policy's business."""
    return (policy.ingress if direction is Direction.INGRESS else policy.egress) or ()


def is_about(policy: Policy, direction: Direction) -> bool:
    """Return whether the policy says anything about a direction."""
    if isinstance(policy, NetworkPolicy):
        return (policy.ingress if direction is Direction.INGRESS else policy.egress) is not None
    return bool(rules_in(policy, direction))


def fails_closed(rule: Rule) -> bool:
    """Return whether the rule denies everybody: nobody knows whom it meant to deny or pass."""
    is_unknown = any(isinstance(peer, UnknownPeer) for peer in rule.peers or ())
    return is_unknown and rule.action is not Action.ACCEPT


def is_peer_pod(peer: PodPeer, holder: Holder) -> bool:
    """Return whether a peer is about the holder's pod."""
    pod = holder.pod
    if pod is None or not peer.pods.matches(pod.labels):
        return False
    if isinstance(peer.namespaces, str):
        return peer.namespaces == pod.key.namespace
    return peer.namespaces.matches(holder.namespace)


def rule_ports(rule: Rule, names: Names) -> PortSet:
    """Return the ports of a rule at a destination that has these names."""
    if rule.ports is None:
        return EVERY_PORT
    return union(_port_set(port, names) for port in rule.ports)


def _port_set(port: Port, names: Names) -> PortSet:
    if isinstance(port, PortName):
        return union(
            ports_of(one.protocol, one.port, one.port)
            for one in names
            if one.name == port.name and port.protocol in (None, one.protocol)
        )
    return ports_of(port.protocol, port.first, port.last)
