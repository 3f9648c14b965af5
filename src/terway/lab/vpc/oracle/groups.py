"""Do an ENI's security groups accept a flow: read from the groups, rule by rule.

Source: help pages "Security group rules" (all groups' rules together, priority first, drop over
accept at equal priority) and "modify the internal access control policy of a basic security
group" (members reach each other whatever the custom rules say).
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.vpc.state import Direction, Port, SecurityGroup, SecurityGroupRule, VpcState
from terway.model.address import IPAddress
from terway.model.ids import SecurityGroupId


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow in the direction in which it is opened, as the ENI sees it."""

    direction: Direction
    protocol: int
    peer: IPAddress
    peer_groups: frozenset[SecurityGroupId]  # of the ENI that has the peer's address
    destination_port: int


def accepts(port: Port, flow: Flow, state: VpcState) -> bool:
    """Return whether the groups of `port` accept that `flow` is opened."""
    groups = [group for group in state.security_groups if group.id in port.security_group_ids]
    if any(g.id in flow.peer_groups for g in groups if g.inner_access and not g.is_enterprise):
        return True
    matching = [rule for group in groups for rule in group.rules if matches(rule, flow)]
    if not matching:
        return _default(groups, flow.direction)
    best = min(rule.priority for rule in matching)
    return all(rule.accept for rule in matching if rule.priority == best)


def matches(rule: SecurityGroupRule, flow: Flow) -> bool:
    """Return whether a rule speaks of this flow."""
    if rule.direction is not flow.direction:
        return False
    if rule.protocol is not None and rule.protocol != flow.protocol:
        return False
    if rule.ports and not rule.ports[0] <= flow.destination_port <= rule.ports[1]:
        return False
    if isinstance(rule.peer, str):
        return rule.peer in flow.peer_groups
    return flow.peer in rule.peer  # False across families


def _default(groups: list[SecurityGroup], direction: Direction) -> bool:
    if direction is Direction.INGRESS:
        return False
    return not groups or not all(group.is_enterprise for group in groups)
