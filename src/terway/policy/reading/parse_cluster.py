"""What does a cluster-wide policy say? Every part that cannot be read fails closed, and is told.

What the versions of the API have in common is here, what they differ in is a `Dialect`.
Source: policy.networking.k8s.io/v1alpha2, ClusterNetworkPolicy, with the experimental fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from terway.model.errors import UsageError
from terway.model.selector import EVERYTHING
from terway.policy.domains import Answers, addresses_of
from terway.policy.policies import (
    Action,
    BlockPeer,
    Direction,
    NodePeer,
    Peer,
    PodPeer,
    Port,
    PortName,
    Rule,
    UnknownPeer,
)
from terway.policy.reading.parse_blocks import parse_network
from terway.policy.reading.parse_fields import Table, refusal, table_of
from terway.policy.reading.parse_selector import parse_selector

_PEERS_FIELD = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_EVERYWHERE = ("namespaces", "pods")
_PEERS = {
    Direction.INGRESS: _EVERYWHERE,
    Direction.EGRESS: (*_EVERYWHERE, "nodes", "networks", "domainNames"),
}
_NAMELESS = ("nodes", "networks", "domainNames")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What the versions of the API write each in their way."""

    actions: Mapping[str, Action]
    ports_field: str
    parse_port: Callable[[Table], Port]
    max_rules: int
    max_items: int  # peers or ports of a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One policy being read: how, with which names resolved, and what had to be said so far."""

    dialect: Dialect
    answers: Answers
    cautions: list[str]

    def bound(self, table: Table, field: str, most: int) -> None:
        """Caution where the API server would refuse so many; they are read all the same."""
        count = sum(1 for _ in table.items(field))
        if count > most:
            self.cautions.append(f"{table.at(field)} has {count} items: the API takes {most}")


def parse_subject(spec: Table) -> PodPeer:
    """Return whom a policy is about. Raises UsageError: without it there is no policy."""
    subject = spec.table("subject")
    field = subject.only_field(*_EVERYWHERE)
    return _pod_peer(subject, field)


def parse_rules(spec: Table, direction: Direction, reading: Reading) -> tuple[Rule, ...]:
    """Return the rules of a direction. Raises UsageError where they are no list at all."""
    field = direction.value.lower()
    reading.bound(spec, field, reading.dialect.max_rules)
    return tuple(
        _rule(index, path, raw, direction, reading)
        for index, (path, raw) in enumerate(spec.items(field))
    )


def closed_rule(field: str, *, index: int = 0, action: Action = Action.DENY) -> Rule:
    """Return the rule in the place of one that cannot be read."""
    return Rule(index=index, peers=(UnknownPeer(field=field),), ports=None, action=action)


def _rule(index: int, path: str, raw: object, direction: Direction, reading: Reading) -> Rule:
    action = Action.DENY
    try:
        table = table_of(raw, path)
        action = _action(table, reading.dialect)
        return _read_rule(index, table, action, direction, reading)
    except UsageError as error:
        reading.cautions.append(_closed(error, action))
        return closed_rule(error.field, index=index, action=action)


def _read_rule(
    index: int, table: Table, action: Action, direction: Direction, reading: Reading
) -> Rule:
    field, ports_field = _PEERS_FIELD[direction], reading.dialect.ports_field
    table.refuse_unknown("name", "action", field, ports_field)
    reading.bound(table, field, reading.dialect.max_items)
    reading.bound(table, ports_field, reading.dialect.max_items)
    ports = tuple(reading.dialect.parse_port(entry) for entry in table.tables(ports_field))
    entries = tuple(table.tables(field))
    if not entries:
        raise refusal(table.at(field), table.values.get(field), "name at least one peer")
    _caution_names_of_nobody(ports, entries, reading)
    peers = tuple(peer for entry in entries for peer in _peers(entry, direction, action, reading))
    is_closed = action is not Action.ACCEPT and any(isinstance(p, UnknownPeer) for p in peers)
    return Rule(
        index=index,
        peers=peers,
        ports=None if is_closed else ports or None,
        name=table.text("name"),
        action=action,
    )


def _action(table: Table, dialect: Dialect) -> Action:
    action = dialect.actions.get(table.text("action"))
    if action is None:
        remedy = f"write one of {', '.join(dialect.actions)}"
        raise refusal(table.at("action"), table.text("action"), remedy)
    return action


def _caution_names_of_nobody(
    ports: tuple[Port, ...], entries: tuple[Table, ...], reading: Reading
) -> None:
    name = next((port.name for port in ports if isinstance(port, PortName)), None)
    for entry in entries:
        field = next((field for field in _NAMELESS if entry.has(field)), None)
        if name is not None and field is not None:
            reading.cautions.append(
                f"{entry.at(field)} beside the named port {name!r}: only pods have names; "
                "write the number"
            )


def _peers(
    table: Table, direction: Direction, action: Action, reading: Reading
) -> tuple[Peer, ...]:
    """Return what a peer says, as one or more; as an UnknownPeer where it cannot be read."""
    try:
        field = table.only_field(*_PEERS[direction])
        match field:
            case "nodes":
                return (NodePeer(nodes=parse_selector(table.table(field))),)
            case "networks":
                return _networks(table, reading)
            case "domainNames":
                return _domains(table, action, reading)
            case _:
                return (_pod_peer(table, field),)
    except UsageError as error:
        reading.cautions.append(_closed(error, action))
        return (UnknownPeer(field=error.field),)


def _pod_peer(table: Table, field: str) -> PodPeer:
    if field == "namespaces":
        return PodPeer(namespaces=parse_selector(table.table(field)), pods=EVERYTHING)
    pods = table.table("pods")
    pods.refuse_unknown("namespaceSelector", "podSelector")
    return PodPeer(
        namespaces=parse_selector(pods.table("namespaceSelector")),
        pods=parse_selector(pods.table("podSelector")),
    )


def _networks(table: Table, reading: Reading) -> tuple[Peer, ...]:
    reading.bound(table, "networks", 25)
    networks = tuple(
        BlockPeer(block=parse_network(text, f"{table.at('networks')}[{index}]"))
        for index, text in enumerate(table.texts("networks"))
    )
    if not networks:
        raise refusal(table.at("networks"), [], "name at least one")
    return networks


def _domains(table: Table, action: Action, reading: Reading) -> tuple[Peer, ...]:
    """Return the addresses that the names are known to have had; nobody resolves them here."""
    names = table.texts("domainNames")
    if action is not Action.ACCEPT:
        raise refusal(table.at("domainNames"), list(names), "only Accept may name domains")
    if not reading.answers:
        raise refusal(table.at("domainNames"), list(names), "not resolved here; write networks")
    found = addresses_of(names, reading.answers)
    nobody: Peer = UnknownPeer(field=table.at("domainNames"))
    return tuple(BlockPeer(block=network) for network in found) or (nobody,)


def _closed(error: UsageError, action: Action) -> str:
    effect = "matches nobody" if action is Action.ACCEPT else "denies everybody"
    return f"{error}; until then it {effect}"
