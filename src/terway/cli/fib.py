"""Which route does a packet take through a namespace? The kernel's decision, over what was read.

So that a bundle can be asked, too; on a live node the kernel's own answer goes before this one.
Source: ip-rule(8), ip-route(8): rules by priority, then the longest prefix, then the lowest metric.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terway.linux.inspect import Seen
from terway.linux.netlink.shown import ShownRoute
from terway.model.address import IPAddress, family_of
from terway.model.network import RoutingRule

_TABLES = {253: "default", 254: "main", 255: "local"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a packet: `route` None is "no route"; `rule` is the one that decided."""

    route: ShownRoute | None
    rule: RoutingRule | None = None
    refusal: str = ""  # the kernel's words, when it was asked itself

    @property
    def kind(self) -> str:
        """Return "unicast", "local", "unreachable", …; "none" without a route."""
        return self.route.kind if self.route else "none"

    def __str__(self) -> str:
        if self.route is None:
            return self.refusal or "no route"
        via = f" via {self.route.gateway}" if self.route.gateway else ""
        device = f" dev {self.route.link}" if self.route.link else ""
        table = _TABLES.get(self.route.table, str(self.route.table))
        return f"{self.route.kind} {self.route.destination}{via}{device} table {table}"


def decide(
    seen: Seen, destination: IPAddress, *, source: IPAddress | None = None, iif: str = ""
) -> Decision:
    """Return what the kernel would do with a packet that has no mark."""
    for rule in sorted(seen.rules, key=lambda one: one.priority):
        if not _matches(rule, destination, source, iif):
            continue
        if rule.is_prohibit:
            return Decision(route=None, rule=rule, refusal=f"rule {rule.priority} prohibits it")
        found = longest(seen.routes, rule.table, destination)
        if found is not None and found.kind != "throw":
            return Decision(route=found, rule=rule)
    return Decision(route=None)


def _matches(rule: RoutingRule, destination: IPAddress, source: IPAddress | None, iif: str) -> bool:
    # A packet without a source yet (the node's own) matches no rule that wants one.
    return (
        rule.family is family_of(destination)
        and not rule.oif
        and not rule.fwmark
        and rule.iif in ("", iif or "lo")
        and (rule.destination is None or destination in rule.destination)
        and (rule.source is None or (source is not None and source in rule.source))
    )


def longest(routes: Iterable[ShownRoute], table: int, destination: IPAddress) -> ShownRoute | None:
    """Return the route of a table that a packet to `destination` takes, None without one."""
    fitting = (
        one
        for one in routes
        if one.table == table
        and one.destination.version == destination.version
        and destination in one.destination
    )
    return max(fitting, key=lambda one: (one.destination.prefixlen, -one.metric), default=None)
