"""Do security groups let a packet pass? The cloud's decision, over the rules it describes.

The rules of all groups of an ENI are one list: members of a group that is open inside first, then
by priority, a drop before an accept; without a match, basic groups let out and do not let in.
Source: help pages "Overview of security groups" and "Modify the internal access control policy".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from terway.cloud.inspect import GroupRule, SecurityGroup
from terway.model.address import IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a packet passes, by which words of which group."""

    is_accepted: bool
    reason: str


def judge(
    groups: Iterable[SecurityGroup],
    *,
    is_ingress: bool,
    protocol: str,
    port: int | None,
    peer: IPAddress,
    peer_groups: Collection[str] = (),
) -> Verdict:
    """Return what `groups` do with a packet from or to `peer`, whose ENI is in `peer_groups`.

    `port` None is a packet without ports, or one whose port nobody told: rules for some ports only
    do not match it then.
    """
    listed = tuple(groups)
    for group in listed:
        if group.is_inner_open and group.id in peer_groups:
            return Verdict(is_accepted=True, reason=f"{group.id} is open to its own members")
    rules = [(one, group) for group in listed for one in group.rules]
    rules.sort(key=lambda pair: (pair[0].priority, pair[0].is_accept))
    for rule, group in rules:
        if rule.is_ingress is is_ingress and _matches(rule, protocol, port, peer, peer_groups):
            word = "accepts" if rule.is_accept else "drops"
            text = f"{group.id} {word} {describe(rule)}"
            return Verdict(is_accepted=rule.is_accept, reason=text)
    names = ", ".join(one.id for one in listed) or "no security group"
    if is_ingress:
        return Verdict(is_accepted=False, reason=f"no rule of {names} lets it in")
    return Verdict(is_accepted=True, reason=f"no rule of {names} is about it")


def _matches(
    rule: GroupRule,
    protocol: str,
    port: int | None,
    peer: IPAddress,
    peer_groups: Collection[str],
) -> bool:
    return (
        rule.protocol in ("all", protocol)
        and _has_port(rule, port)
        and _is_about(rule, peer, peer_groups)
    )


def _has_port(rule: GroupRule, port: int | None) -> bool:
    if rule.protocol not in ("tcp", "udp") or (rule.first_port, rule.last_port) == (1, 65535):
        return True
    return port is not None and rule.first_port <= port <= rule.last_port


def _is_about(rule: GroupRule, peer: IPAddress, peer_groups: Collection[str]) -> bool:
    if rule.peer_group:
        return rule.peer_group in peer_groups
    return rule.peer is not None and peer.version == rule.peer.version and peer in rule.peer


def describe(rule: GroupRule) -> str:
    """Return a rule in words."""
    ports = f"/{rule.first_port}-{rule.last_port}" if rule.protocol in ("tcp", "udp") else ""
    word = "from" if rule.is_ingress else "to"
    end = rule.peer or rule.peer_group or "a prefix list"
    return f"{rule.protocol}{ports} {word} {end} at priority {rule.priority}"
