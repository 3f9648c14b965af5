"""What does this table of nftables enforce? Reads it back, and trusts nothing in it.

Every chain is read for what it may depend on, printed again from that, and compared: a rule more,
less, or otherwise is a fault, told by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from terway.model.address import Family, IPAddress
from terway.model.nft import (
    TABLE_DORMANT,
    TABLE_OWNER,
    Chain,
    Element,
    Rule,
    SetShape,
    Table,
)
from terway.model.nft_rule import RETURN, Verdict, VerdictKind
from terway.policy.nft.guess import (
    address_of,
    guess_lane,
    guess_names,
    guess_options,
    guess_rule_set,
    rules_of,
)
from terway.policy.nft.lifted import Lifted, LiftedRuleSet, LiftedSides, Segment
from terway.policy.nft.names import INPUT
from terway.policy.nft.ports import print_ports, read_ports
from terway.policy.nft.sides import Lane, interface_of, lane_rules
from terway.policy.nft.skeleton import (
    HOST_MAPS,
    HOST_SETS,
    NET_MAPS,
    Options,
    Place,
    RuleChain,
    base_chains,
    common_chains,
    rest_of,
    rule_set_chains,
    side_maps,
)
from terway.policy.nft.words import goto, jump
from terway.policy.ports import EVERY_PORT, NOTHING, PortSet

_FLAGS = {
    TABLE_DORMANT: "the table is switched off (flags dormant), and judges nothing",
    TABLE_OWNER: "the table is another program's (flags owner), which alone may change it",
}
_RULE_SET = re.compile(r"(ingress|egress)\d+")


def lift(place: Place, table: Table | None) -> Lifted:
    """Return what the table enforces; one that is not there enforces nothing."""
    if table is None:
        return Lifted(faults=("there is no table of ours",))
    return _Lifter(place, table).lift()


class _Lifter:
    """One reading of one table."""

    def __init__(self, place: Place, table: Table) -> None:
        self._place = place
        self._table = table
        self._names = guess_names(place, table)
        self._known_chains: set[str] = set()
        self._known_sets: set[str] = set()
        self._faults: list[str] = []
        self._shared: dict[Family, dict[IPAddress, None]] = {}
        self._ports: dict[Verdict, PortSet] = {
            RETURN: EVERY_PORT,
            goto(self._names.of("deny")): NOTHING,
        }

    def lift(self) -> Lifted:
        for flag, words in _FLAGS.items():
            if self._table.flags & flag:
                self._fault(words)
        options = self._options()
        self._expect_fixed(options)
        sides = self._sides()
        rule_sets = {name: self._rule_set(name) for name in self._rule_set_names()}
        for side in sides.values():
            for name in _referred(side):
                if name and name not in rule_sets:
                    self._fault(f"chain {name} is referred to as a rule set, and is none")
        self._tell_surplus()
        return Lifted(sides=sides, rule_sets=rule_sets, options=options, faults=tuple(self._faults))

    def _fault(self, words: str) -> None:
        self._faults.append(words)

    def _options(self) -> Options:
        chains = ("deny", "log_denied", "log_allowed")
        return guess_options(*(rules_of(self._table, self._names.of(name)) for name in chains))

    def _expect_fixed(self, options: Options) -> None:
        judged = self._set_elements(self._names.of("own_node"))
        has_own_node = bool(judged) or INPUT in self._table.chains
        for name, chain in base_chains(self._place, self._names, has_own_node=has_own_node).items():
            self._expect(name, chain)
        for name, rules in common_chains(self._place, self._names, options).items():
            self._expect(name, Chain(rules=rules))

    def _expect(self, name: str, wanted: Chain) -> None:
        self._known_chains.add(name)
        found = self._table.chains.get(name)
        if found is None:
            self._fault(f"chain {name} is missing")
        elif found.base != wanted.base:
            self._fault(f"chain {name} is not hooked as ours is")
        elif found.rules != wanted.rules:
            self._fault(f"chain {name}: {_first_difference(found.rules, wanted.rules)}")

    def _elements(self, name: str, shape: SetShape) -> frozenset[Element]:
        self._known_sets.add(name)
        found = self._table.sets.get(name)
        if found is None:
            self._fault(f"set {name} is missing")
        elif found.shape != shape:
            self._fault(f"set {name} is not made as ours is")
        else:
            return found.elements
        return frozenset()

    def _sides(self) -> dict[str, LiftedSides]:
        found: dict[str, dict[str, Lane]] = {}
        themselves: set[str] = set()
        for name, shape in side_maps(self._place, self._names).items():
            for element in self._elements(name, shape):
                if shape.is_map:
                    side = name.partition(".")[0]
                    found.setdefault(interface_of(element.key), {})[side] = self._lane(
                        side, element
                    )
                else:
                    themselves |= self._itself(name, element)
        return {
            interface: _sides(found.get(interface, {}), is_free=interface in themselves)
            for interface in found.keys() | themselves
        }

    def _lane(self, side: str, element: Element) -> Lane:
        """Return where a pod's element leads, by way of the pod's own chain."""
        interface = interface_of(element.key)
        chain = self._names.lane(side, interface)
        if element.verdict != jump(chain):
            self._fault(f"map {side}: {interface} has {element.verdict}, not a jump to {chain}")
        lane = guess_lane(self._table, chain, interface)
        self._expect(chain, Chain(rules=lane_rules(lane)))
        return lane

    def _itself(self, name: str, element: Element) -> set[str]:
        half = element.key[: len(element.key) // 2]
        if element.key != half + half:
            self._fault(f"set {name}: {interface_of(half)} is let to another interface")
            return set()
        return {interface_of(half)}

    def _rule_set_names(self) -> list[str]:
        suffix = self._names.of("")
        return sorted(
            name
            for name in self._table.chains
            if name.endswith(suffix) and _RULE_SET.fullmatch(name.removesuffix(suffix))
        )

    def _rule_set(self, name: str) -> LiftedRuleSet:
        chain = guess_rule_set(self._table, name.removesuffix(self._names.of("")), self._names)
        for printed, rules in rule_set_chains(chain, self._names).items():
            self._expect(printed, Chain(rules=rules))
        hosts: dict[IPAddress, PortSet] = {}
        for family in Family:
            hosts |= self._hosts(chain, family)
        return LiftedRuleSet(
            direction=chain.direction,
            default=self._ports_of(chain.default, name),
            hosts=hosts,
            segments={one: self._segments(nets, one) for one, nets in chain.nets.items()},
        )

    def _hosts(self, chain: RuleChain, family: Family) -> dict[IPAddress, PortSet]:
        """Return what each host may, by the rule set's own map or by the shared set."""
        name = self._names.hosts(chain.name, family)
        hosts: dict[IPAddress, PortSet] = {}
        rest: Verdict | None = None
        if chain.everybody is not None:
            rest = goto(rest_of(chain.name, self._names))
            ports = self._ports_of(chain.everybody, name)
            hosts = dict.fromkeys(self._everybody(family), ports)
        for element in self._elements(name, HOST_MAPS[family]):
            address = address_of(element.key)
            if rest is not None and element.verdict == rest:
                hosts.pop(address, None)
            else:
                hosts[address] = self._ports_of(element.verdict, name)
        return hosts

    def _everybody(self, family: Family) -> dict[IPAddress, None]:
        """Return the shared set: a dict, whose copies need not ask each address for its hash."""
        if family not in self._shared:
            elements = self._elements(self._names.everybody(family), HOST_SETS[family])
            self._shared[family] = {address_of(one.key): None for one in elements}
        return self._shared[family]

    def _segments(self, name: str, family: Family) -> tuple[Segment, ...]:
        found = (
            Segment(
                first=int.from_bytes(element.key, "big"),
                last=int.from_bytes(element.last or element.key, "big"),
                ports=self._ports_of(element.verdict, name),
            )
            for element in self._elements(name, NET_MAPS[family])
        )
        return tuple(sorted(found, key=lambda one: one.first))

    def _ports_of(self, verdict: Verdict | None, where: str) -> PortSet:
        if verdict is None or verdict.kind not in (VerdictKind.GOTO, VerdictKind.RETURN):
            self._fault(f"{where}: {verdict} is no answer of ours")
            return NOTHING
        found = self._ports.get(verdict)
        if found is None:
            found = self._ports[verdict] = self._read_ports(verdict.chain)
        return found

    def _read_ports(self, name: str) -> PortSet:
        ports = read_ports(rules_of(self._table, name), self._set_elements(name))
        printed = print_ports(ports, self._names)
        if printed.set_name != name:
            self._fault(f"chain {name} is missing, or holds the ports {printed.set_name}")
            self._known_chains.add(name)
            self._known_sets.add(name)
            return ports
        for chain, rules in printed.chains.items():
            self._expect(chain, Chain(rules=rules))
        if printed.shape is not None and self._elements(name, printed.shape) != printed.elements:
            self._fault(f"set {name} has elements that overlap or touch")
        return ports

    def _pass_idle_ports(self) -> None:
        """Pass over the ports that rule sets have for classes that nobody is in just now."""
        for name in self._table.chains.keys() - self._known_chains:
            ports = read_ports(rules_of(self._table, name), self._set_elements(name))
            if print_ports(ports, self._names).set_name == name:
                self._ports_of(goto(name), name)

    def _set_elements(self, name: str) -> frozenset[Element]:
        found = self._table.sets.get(name)
        return frozenset() if found is None else found.elements

    def _tell_surplus(self) -> None:
        self._pass_idle_ports()
        for name in sorted(self._table.chains.keys() - self._known_chains):
            self._fault(f"chain {name} is more than there should be")
        for name in sorted(self._table.sets.keys() - self._known_sets):
            self._fault(f"set {name} is more than there should be")


def _sides(lanes: Mapping[str, Lane], *, is_free: bool) -> LiftedSides:
    """Return what is asked at an interface; `is_free`: what is denied is let through to itself."""
    found = {side: lane.rule_set for side, lane in lanes.items()}
    itself = {
        f"itself_{side}": lanes[side].rule_set_for_itself
        for side in ("ingress", "egress")
        if side in lanes and not is_free
    }
    return LiftedSides(**found, **itself)


def _referred(sides: LiftedSides) -> tuple[str, ...]:
    asked = (sides.ingress, sides.egress, sides.own_node, sides.itself_ingress, sides.itself_egress)
    return tuple(dict.fromkeys(name for name in asked if name is not None))


def _first_difference(found: tuple[Rule, ...], wanted: tuple[Rule, ...]) -> str:
    for place, (one, other) in enumerate(zip(found, wanted, strict=False), 1):
        if one != other:
            return f"rule {place} of {len(found)} is not as it was printed"
    return f"{len(found)} rules, {len(wanted)} were printed"
