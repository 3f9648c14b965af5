"""What does a policy say, in sentences?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from terway.model.selector import Operator, Requirement, Selector
from terway.policy.asking.matrix_rules import fails_closed, rules_in
from terway.policy.cluster import Protocol
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
    Rule,
    UnknownPeer,
)
from terway.policy.ports import LAST_PORT

_VERBS = {Action.ACCEPT: "accepts", Action.DENY: "denies", Action.PASS: "passes on"}


def sentences(policy: Policy) -> Iterator[str]:
    """Yield what a policy says: whom it is about, then each direction, rule by rule."""
    if isinstance(policy, NetworkPolicy):
        yield f"It is about {pods_text(policy.pods)} of namespace {policy.key.namespace}."
    else:
        yield f"It is about {peer_text(policy.subject)}."
        yield (
            f"It is of tier {policy.tier.value}, priority {policy.priority}: the lowest number "
            "goes first, and the first rule that matches decides."
        )
    if policy.fault:
        yield f"It cannot be enforced as written, and so is closed: {policy.fault}"
    for direction in Direction:
        yield from _direction(policy, direction)


def _direction(policy: Policy, direction: Direction) -> Iterator[str]:
    rules = rules_in(policy, direction)
    name = direction.value
    if isinstance(policy, ClusterPolicy):
        if not rules:
            yield f"{name}: nothing; later tiers decide."
        yield from (f"{_place(direction, one)} {_cluster_rule(one, direction)}" for one in rules)
        if rules:
            yield f"{name}, what no rule matches: other policies and later tiers decide."
        return
    is_silent = (policy.ingress if direction is Direction.INGRESS else policy.egress) is None
    if is_silent:
        yield f"{name}: not its business."
    elif not rules:
        yield f"{name}: nothing is allowed, but what other policies allow, and the pod's own node."
    else:
        yield f"{name}: only this is allowed, beside what other policies allow and the own node:"
        yield from (f"{_place(direction, one)} {_network_rule(one, direction)}" for one in rules)


def _place(direction: Direction, rule: Rule) -> str:
    name = f" ({rule.name})" if rule.name else ""
    return f"{direction.value.lower()}[{rule.index}]{name}:"


def _network_rule(rule: Rule, direction: Direction) -> str:
    return f"{_peers(rule, direction)}, on {ports_text(rule.ports)}."


def _cluster_rule(rule: Rule, direction: Direction) -> str:
    if fails_closed(rule):
        return "denies everybody, because a peer of it cannot be read."
    return f"{_VERBS[rule.action]} {_network_rule(rule, direction)}"


def _peers(rule: Rule, direction: Direction) -> str:
    word = "from" if direction is Direction.INGRESS else "to"
    if rule.peers is None:
        return f"{word} anybody"
    return f"{word} " + "; or ".join(map(peer_text, rule.peers))


def peer_text(peer: Peer) -> str:
    """Return a peer in words."""
    match peer:
        case PodPeer(namespaces=str(name), pods=pods):
            return f"{pods_text(pods)} of namespace {name}"
        case PodPeer(namespaces=Selector() as spaces, pods=pods):
            return f"{pods_text(pods)} of {_some('namespaces', spaces)}"
        case BlockPeer(block=block, excepts=excepts):
            but = f" except {', '.join(map(str, excepts))}" if excepts else ""
            return f"whoever has an address of {block}{but} (pods included)"
        case NodePeer(nodes=nodes):
            return f"{_some('nodes', nodes)}, by their addresses"
        case UnknownPeer(field=field):
            return f"nobody, because of {field}"
        case _:
            raise AssertionError(peer)


def pods_text(pods: Selector) -> str:
    """Return a selector of pods in words."""
    return _some("pods", pods)


def _some(kind: str, selector: Selector) -> str:
    if not selector.requirements:
        return f"all {kind}"
    wanted = sorted(map(_requirement, selector.requirements))
    return f"{kind} with {' and '.join(wanted)}"


def _requirement(one: Requirement) -> str:
    values = ", ".join(sorted(one.values))
    match one.operator:
        case Operator.IN:
            return f"{one.key}={values}" if len(one.values) == 1 else f"{one.key} in ({values})"
        case Operator.NOT_IN:
            return f"{one.key} not in ({values}), or without it"
        case Operator.EXISTS:
            return f"a label {one.key}"
        case Operator.DOES_NOT_EXIST:
            return f"no label {one.key}"
        case _:
            assert_never(one.operator)


def ports_text(ports: Iterable[Port] | None) -> str:
    """Return the ports of a rule in words."""
    if ports is None:
        return "every port of every protocol"
    return ", ".join(map(_port, ports))


def _port(port: Port) -> str:
    if isinstance(port, PortName):
        protocol = f"{port.protocol.value} " if port.protocol is not None else ""
        return f"{protocol}port named {port.name!r} (its number at each destination)"
    if port.protocol is Protocol.OTHER:
        return "ICMP and others without ports"
    if (port.first, port.last) == (0, LAST_PORT):
        return f"every {port.protocol.value} port"
    last = f"-{port.last}" if port.last != port.first else ""
    return f"{port.protocol.value} {port.first}{last}"
