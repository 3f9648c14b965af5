"""The security groups of an ENI, merged into the ordered lists that the fabric's program reads.

The cloud merges the rules of all groups of an ENI and takes the first match: lower priority
first, drop before accept at equal priority. Internal access of a basic group comes before them
all: its members reach each other "regardless of whether custom rules exist" (help page "modify
the internal access control policy of a basic security group").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from ipaddress import IPv4Address

from terway.lab.vpc.contract import (
    GROUP_ANYBODY,
    MAX_RULES,
    RULE,
    RULE_LIST,
    family_number,
    pack_address,
)
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.state import Direction, SecurityGroup, SecurityGroupRule
from terway.model.address import IPNetwork, family_of
from terway.model.errors import UsageError

_INNER_ACCESS_PRIORITY = 0  # custom rules begin at 1
_PORT_PROTOCOLS = (6, 17)
_ALL_PORTS = (0, 65535)
_ANY_PROTOCOL_MASK = 0xFF00
_ANY_FAMILY_MASK = 0x00FF


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleList:
    """A compiled list: the map entry's key (a digest of the content) and value."""

    id: int
    value: bytes
    named_groups: frozenset[str]  # whose members the verdict depends on


def compile_rules(
    groups: Sequence[SecurityGroup], direction: Direction, numbers: Numbers
) -> RuleList:
    """Return the list for an ENI that is in `groups`.

    Raises UsageError when the groups have more rules together than the fabric takes, or a rule
    has ports without a protocol that knows ports.
    """
    rules = sorted(merged_rules(groups, direction), key=lambda r: (r.priority, r.accept))
    if len(rules) > MAX_RULES:
        names = ", ".join(group.id for group in groups)
        raise UsageError(
            f"security groups {names} have {len(rules)} {direction.value} rules together; "
            f"an ENI can have {MAX_RULES}: remove rules, or groups from the ENI",
            field="security_group_ids",
        )
    value = RULE_LIST.pack(
        count=len(rules),
        default_accept=is_accepted_by_default(groups, direction),
        rules=b"".join(_pack_rule(rule, numbers) for rule in rules),
    )
    return RuleList(
        id=_digest(value),
        value=value,
        named_groups=frozenset(str(r.peer) for r in rules if isinstance(r.peer, str)),
    )


@cache
def _inner_access(group: SecurityGroup, direction: Direction) -> SecurityGroupRule:
    return SecurityGroupRule(
        direction=direction, accept=True, priority=_INNER_ACCESS_PRIORITY, peer=group.id
    )


def merged_rules(
    groups: Sequence[SecurityGroup], direction: Direction
) -> tuple[SecurityGroupRule, ...]:
    """Return the rules of all groups for `direction`, inner access among them, unordered."""
    inner = (
        _inner_access(group, direction)
        for group in groups
        if group.inner_access and not group.is_enterprise
    )
    custom = (r for group in groups for r in group.rules if r.direction is direction)
    return (*inner, *custom)


def is_accepted_by_default(groups: Sequence[SecurityGroup], direction: Direction) -> bool:
    """Return what happens when no rule matches: only a basic group accepts, and only egress."""
    if direction is Direction.INGRESS:
        return False
    return not groups or any(not group.is_enterprise for group in groups)


def _digest(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")


def _pack_rule(rule: SecurityGroupRule, numbers: Numbers) -> bytes:
    first, last = _ports(rule)
    network, mask, family_mask, group = _pack_peer(rule, numbers)
    protocol_mask = 0 if rule.protocol is None else _ANY_FAMILY_MASK
    family = family_number(family_of(rule.peer)) if not isinstance(rule.peer, str) else 0
    return RULE.pack(
        network=network,
        mask=mask,
        selector=family << 8 | (rule.protocol or 0),
        selector_mask=family_mask | protocol_mask,
        first_port=first,
        port_span=last - first,
        group=group,
        accept=rule.accept,
    )


def _ports(rule: SecurityGroupRule) -> tuple[int, int]:
    if rule.ports is None:
        return _ALL_PORTS
    first, last = rule.ports
    if rule.protocol not in _PORT_PROTOCOLS or not 0 <= first <= last <= _ALL_PORTS[1]:
        raise UsageError(
            f"security group rule with ports {first}/{last} and protocol {rule.protocol}: "
            "ports need TCP (6) or UDP (17), and lie within 0 to 65535",
            field="rules.ports",
        )
    return rule.ports


def _pack_peer(rule: SecurityGroupRule, numbers: Numbers) -> tuple[bytes, bytes, int, int]:
    """Return network, mask, the mask of the family, and the group's bit."""
    if isinstance(rule.peer, str):
        return bytes(16), bytes(16), 0, numbers.group(rule.peer)
    network, mask = pack_range(rule.peer)
    return network, mask, _ANY_PROTOCOL_MASK, GROUP_ANYBODY


def pack_range(cidr: IPNetwork) -> tuple[bytes, bytes]:
    """Return network and mask as two struct addresses."""
    mask = cidr.netmask
    if isinstance(mask, IPv4Address):
        return pack_address(cidr.network_address), mask.packed.ljust(16, b"\0")
    return pack_address(cidr.network_address), mask.packed
