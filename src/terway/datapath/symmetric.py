"""How does what came in by the node's own interface go back out by it?

    client ──► eth0: connection gets the mark ──► DNAT ──► pod
    client ◄── eth0 ◄── table 100 ◄── rule 600: mark ◄── packet gets its connection's mark ◄── pod

Without it the pod's answer would follow the rule of the pod's address to an ENI, and leave there
with the node's address once the translation is undone: an ENI may not send from that.
Source: upstream Terway, docs/symmetric_routing_config.md; tables, priorities and names are its.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from terway.datapath.facts import NodeFacts, Symmetric
from terway.datapath.host import EVERYWHERE
from terway.model.address import Family
from terway.model.network import NetObject, Route, RoutingRule

_TABLES = {Family.V4: "ip terway_symmetric", Family.V6: "ip6 terway_symmetric_ipv6"}

# Translates the first packet of a hostPort; whoever else does is found when it has begun.
_PORT_MAPPER = "portmap"


class _Asked(Protocol):
    """What a configuration says of the way back; `interface` is empty for the default route's."""

    @property
    def interface(self) -> str: ...
    @property
    def mark(self) -> int: ...
    @property
    def mask(self) -> int: ...
    @property
    def table_id(self) -> int: ...
    @property
    def rule_priority(self) -> int: ...
    @property
    def comment(self) -> str: ...


def symmetric_of(
    asked: _Asked | None, *, uplink: str, chained: Collection[str]
) -> Symmetric | None:
    """Return how answers go back on a node; `chained` are the types of the plugins after ours."""
    if asked is None:
        return None
    return Symmetric(
        interface=asked.interface or uplink,
        mark=asked.mark,
        mask=asked.mask,
        table=asked.table_id,
        priority=asked.rule_priority,
        comment=asked.comment,
        waits=_PORT_MAPPER not in chained,
    )


def symmetric_objects(node: NodeFacts) -> Iterator[NetObject]:
    """Yield the way back: a table of its own, and the rule that leads marked packets there."""
    how = node.symmetric
    if how is None:
        return
    for family in node.families:
        gateway = node.gateways.of(family)
        if gateway is None:
            continue  # the node has no way out in this family
        yield Route(
            destination=EVERYWHERE[family],
            link=how.interface,
            table=how.table,
            gateway=gateway,
            is_onlink=True,
        )
        yield _rule(family, how)


def _rule(family: Family, how: Symmetric) -> RoutingRule:
    return RoutingRule(
        family=family, priority=how.priority, table=how.table, fwmark=how.mark, fwmask=how.mask
    )


def is_symmetric_rule(rule: RoutingRule) -> bool:
    """Return whether a rule is one that we, or upstream, make where nothing else is configured."""
    default = Symmetric()
    return rule == _rule(rule.family, default)


def symmetric_tables(node: NodeFacts) -> dict[str, str]:
    """Return the tables of nftables that mark connections, each by its name.

    Only the first direction of a connection marks it: an answer that comes in by the interface
    belongs to a connection that went out by it. Packets of pods get the mark back before they are
    routed. Other bits of either mark stay as they are.
    """
    how = node.symmetric
    return {} if how is None else {_TABLES[family]: _body(how) for family in node.families}


def _body(how: Symmetric) -> str:
    return f"""{{
	chain prerouting {{
		type filter hook prerouting priority mangle; policy accept;
		{_marking(how)}
		{_restoring(how)}
	}}
}}"""


def _marking(how: Symmetric) -> str:
    return (
        f'iifname "{how.interface}" ct direction original '
        f'ct mark set ct mark and {how.others:#x} or {how.mark:#x} comment "{how.comment}"'
    )


def _restoring(how: Symmetric) -> str:
    return (
        f'iifname != "{how.interface}" ct mark and {how.mask:#x} == {how.mark:#x} '
        f'meta mark set meta mark and {how.others:#x} or {how.mark:#x} comment "{how.comment}"'
    )
