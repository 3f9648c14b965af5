"""Which cluster policy is in a manifest of policy.networking.k8s.io? Three kinds, one value.

Source: network-policy-api, v1alpha2 ClusterNetworkPolicy; v1alpha1 AdminNetworkPolicy (any
number) and BaselineAdminNetworkPolicy (one, without a priority), which it replaced.
"""

from __future__ import annotations

from terway.model.errors import UsageError
from terway.policy.domains import NO_ANSWERS, Answers
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Direction,
    Kind,
    PolicyKey,
    Port,
    PortName,
    PortRange,
    Tier,
)
from terway.policy.ports import LAST_PORT
from terway.policy.reading.parse_cluster import (
    Dialect,
    Reading,
    closed_rule,
    parse_rules,
    parse_subject,
)
from terway.policy.reading.parse_fields import Table, refusal, table_of
from terway.policy.reading.parse_network import generation_of, parse_port_name, uid_of
from terway.policy.reading.parse_objects import name_of, parse_protocol

MAX_PRIORITY = 1000
_TIERS = {tier.value: tier for tier in Tier}


def parse_cluster_policy(
    raw: object, kind: Kind, *, answers: Answers = NO_ANSWERS
) -> ClusterPolicy:
    """Return the policy. What cannot be read of it denies, or accepts nobody, and is told.

    Raises UsageError when not even its name or its subject can be read.
    """
    policy = table_of(raw, "")
    metadata, spec = policy.table("metadata"), policy.table("spec")
    tier, priority, fault = _place(spec, kind)
    reading = Reading(dialect=_dialect(kind), answers=answers, cautions=[])
    rules = {}
    for direction in Direction:
        try:
            rules[direction] = parse_rules(spec, direction, reading)
        except UsageError as error:
            fault = fault or str(error)
            rules[direction] = (closed_rule(error.field),)
    if fault:
        rules = {where: (closed_rule("spec"),) if rules[where] else () for where in rules}
    return ClusterPolicy(
        key=PolicyKey(kind=kind, name=name_of(metadata)),
        tier=tier,
        priority=priority,
        subject=parse_subject(spec),
        ingress=rules[Direction.INGRESS],
        egress=rules[Direction.EGRESS],
        generation=generation_of(metadata),
        uid=uid_of(metadata),
        fault=fault,
        cautions=tuple(reading.cautions),
    )


def _place(spec: Table, kind: Kind) -> tuple[Tier, int, str]:
    """Return tier, priority and why they cannot be read; then it comes before all others."""
    try:
        match kind:
            case Kind.CLUSTER:
                spec.refuse_unknown("tier", "priority", "subject", "ingress", "egress")
                return _tier(spec), spec.number("priority", 0, MAX_PRIORITY), ""
            case Kind.ADMIN:
                spec.refuse_unknown("priority", "subject", "ingress", "egress")
                return Tier.ADMIN, spec.number("priority", 0, MAX_PRIORITY), ""
            case _:
                spec.refuse_unknown("subject", "ingress", "egress")
                return Tier.BASELINE, MAX_PRIORITY, ""
    except UsageError as error:
        return Tier.ADMIN, 0, str(error)


def _tier(spec: Table) -> Tier:
    tier = _TIERS.get(spec.text("tier"))
    if tier is None:
        raise refusal(spec.at("tier"), spec.text("tier"), f"write one of {', '.join(_TIERS)}")
    return tier


def _dialect(kind: Kind) -> Dialect:
    if kind is Kind.CLUSTER:
        return Dialect(
            actions={action.value: action for action in Action},
            ports_field="protocols",
            parse_port=_protocol_entry,
            max_rules=25,
            max_items=25,
        )
    return Dialect(
        actions={"Allow": Action.ACCEPT, "Deny": Action.DENY, "Pass": Action.PASS},
        ports_field="ports",
        parse_port=_port_entry,
        max_rules=100,
        max_items=100,
    )


def _protocol_entry(table: Table) -> Port:
    """Return an entry of v1alpha2's `protocols`."""
    field = table.only_field("tcp", "udp", "sctp", "destinationNamedPort")
    if field == "destinationNamedPort":
        return PortName(name=parse_port_name(table.text(field), table.at(field)))
    protocol = parse_protocol(field.upper(), table.at(field))
    match = table.table(field)
    match.refuse_unknown("destinationPort")
    if not match.has("destinationPort"):
        return PortRange(protocol=protocol)
    port = match.table("destinationPort")
    if port.only_field("number", "range") == "range":
        return _range(port.table("range"), PortRange(protocol=protocol))
    number = port.number("number", 1, LAST_PORT)
    return PortRange(protocol=protocol, first=number, last=number)


def _port_entry(table: Table) -> Port:
    """Return an entry of v1alpha1's `ports`."""
    field = table.only_field("portNumber", "portRange", "namedPort")
    if field == "namedPort":
        return PortName(name=parse_port_name(table.text(field), table.at(field)))
    port = table.table(field)
    protocol = parse_protocol(port.text("protocol"), port.at("protocol"))
    if field == "portRange":
        return _range(port, PortRange(protocol=protocol), "protocol")
    port.refuse_unknown("protocol", "port")
    number = port.number("port", 1, LAST_PORT)
    return PortRange(protocol=protocol, first=number, last=number)


def _range(table: Table, every: PortRange, *beside: str) -> PortRange:
    table.refuse_unknown("start", "end", *beside)
    first = table.number("start", 1, LAST_PORT)
    last = table.number("end", first, LAST_PORT)
    return PortRange(protocol=every.protocol, first=first, last=last)
