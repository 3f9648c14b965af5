"""How the chains and sets of the policy table are named, so that a person finds their way.

    egress7   egress7_replies   egress7_hosts4   egress7_nets4-2      rule set 7
    tcp80_udp53                                                       who may use these ports

What a process finds made by another keeps its names; its own get the next number behind a dot
(`egress7.3`), so that both can be there at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from terway.model.address import Family
from terway.model.nft import Table
from terway.policy.compiled import RuleSetId
from terway.policy.policies import Direction
from terway.policy.ports import LAST_PORT, PortSet

TABLE = "terway_policy"
FORWARD, INPUT, OUTPUT = "forward", "input", "output"

_LONGEST_PORTS = 48  # characters; a longer name says less than a short one


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names that one process gives, all with its own number; 0 has none."""

    epoch: int = 0

    def of(self, name: str) -> str:
        """Return a name of this process."""
        return f"{name}.{self.epoch}" if self.epoch else name

    def rule_set(self, number: RuleSetId, direction: Direction) -> str:
        """Return the name of a rule set, without the process's number."""
        return f"{direction.value.lower()}{number}"

    def lane(self, side: str, interface: str) -> str:
        """Return the chain of the pod behind an interface, on one of its sides."""
        return self.of(f"{side}_{interface}")

    def hosts(self, rule_set: str, family: Family) -> str:
        """Return the map from a rule set's hosts to what they may."""
        return self.of(f"{rule_set}_hosts{family.value}")

    def nets(self, rule_set: str, family: Family, version: int) -> str:
        """Return the map from a rule set's nets to what they may, made for the `version`th time."""
        again = f"-{version}" if version else ""
        return self.of(f"{rule_set}_nets{family.value}{again}")

    def everybody(self, family: Family) -> str:
        """Return the set of all hosts that any rule set knows."""
        return self.of(f"hosts{family.value}")

    def ports(self, ports: PortSet) -> str:
        """Return the chain and the set of a set of ports."""
        return self.of(ports_name(ports))

    def port_replies(self, ports: PortSet) -> str:
        """Return the chain that judges answers by a set of ports."""
        return self.of(f"{ports_name(ports)}_replies")


def next_names(table: Table | None) -> Names:
    """Return names that nothing in the table has."""
    if table is None:
        return Names()
    taken = [epoch_of(name) for name in (*table.chains, *table.sets)]
    return Names(epoch=max(taken, default=-1) + 1)


def epoch_of(name: str) -> int:
    """Return the number behind a name's dot, 0 where there is none."""
    number = name.rpartition(".")[2] if "." in name else ""
    return int(number) if number.isdecimal() else 0


def ports_name(ports: PortSet) -> str:
    """Return a name that tells the ports if they are few, and is never that of others."""
    name = "_".join(_words(ports))
    if len(name) <= _LONGEST_PORTS:
        return name
    return f"ports_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _words(ports: PortSet) -> Iterable[str]:
    for word, intervals in (("tcp", ports.tcp), ("udp", ports.udp), ("sctp", ports.sctp)):
        if intervals == ((0, LAST_PORT),):
            yield word
            continue
        for first, last in intervals:
            yield f"{word}{first}" if first == last else f"{word}{first}-{last}"
    if ports.other:
        yield "other"
