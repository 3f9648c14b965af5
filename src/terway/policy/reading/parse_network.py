"""What does a NetworkPolicy manifest say? networking.k8s.io/v1, with all its absent and empty.

Source: Kubernetes API reference, NetworkPolicy v1, and what its validation refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from terway.model.errors import UsageError
from terway.model.selector import EVERYTHING
from terway.policy.policies import (
    Direction,
    Kind,
    NetworkPolicy,
    Peer,
    PodPeer,
    PolicyKey,
    Port,
    PortName,
    PortRange,
    Rule,
)
from terway.policy.ports import LAST_PORT
from terway.policy.reading.parse_blocks import parse_block
from terway.policy.reading.parse_fields import Table, refusal, table_of
from terway.policy.reading.parse_objects import name_of, parse_protocol
from terway.policy.reading.parse_selector import parse_selector

T = TypeVar("T")

_PEERS_FIELD = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_RULES_FIELD = {Direction.INGRESS: "ingress", Direction.EGRESS: "egress"}
_ANY_NUMBER = 2**31 - 1


def parse_network_policy(raw: object) -> NetworkPolicy:
    """Return the policy; one that cannot be read has a fault and allows nothing.

    Raises UsageError when not even its name or whom it selects can be read.
    """
    policy = table_of(raw, "")
    metadata, spec = policy.table("metadata"), policy.table("spec")
    namespace = metadata.text("namespace") or "default"
    readable, fault = _directions(spec)
    faults = [fault] if fault else []
    rules = _rules_of(spec, readable, namespace, faults)
    if faults:
        rules = dict.fromkeys(readable, ())
    return NetworkPolicy(
        key=PolicyKey(kind=Kind.NETWORK, namespace=namespace, name=name_of(metadata)),
        pods=parse_selector(spec.table("podSelector")),
        ingress=rules.get(Direction.INGRESS),
        egress=rules.get(Direction.EGRESS),
        generation=generation_of(metadata),
        uid=uid_of(metadata),
        fault=faults[0] if faults else "",
        more_faults=tuple(faults[1:]),
    )


def generation_of(metadata: Table) -> int:
    """Return the generation of an object, 0 where it has none: a file.

    The API server writes it. What a file has there is no reason to refuse a policy.
    """
    generation = metadata.values.get("generation")
    return generation if isinstance(generation, int) else 0


def uid_of(metadata: Table) -> str:
    """Return the UID of an object, empty where it has none: a file."""
    return str(metadata.values.get("uid") or "")


def _directions(spec: Table) -> tuple[Collection[Direction], str]:
    """Return the directions that the policy is about, and why they cannot be read, if so.

    Unreadable ones still isolate: what is listed, or both where nothing of it can be read.
    """
    known = {direction.value: direction for direction in Direction}
    try:
        listed = spec.texts("policyTypes")
        if not listed:
            has_egress = any(True for _ in spec.items("egress"))
            return (tuple(Direction) if has_egress else (Direction.INGRESS,)), ""
        unknown = next((text for text in listed if text not in known), None)
    except UsageError as error:
        return tuple(Direction), str(error)
    directions = tuple(known[text] for text in listed if text in known)
    if unknown is None:
        return directions, ""
    fault = refusal(spec.at("policyTypes"), unknown, f"write {' or '.join(known)}")
    return directions or tuple(Direction), str(fault)


def _rules_of(
    spec: Table, directions: Collection[Direction], namespace: str, faults: list[str]
) -> dict[Direction, tuple[Rule, ...]]:
    """Return the rules that can be read; why others cannot is added to `faults`."""
    with _noted(faults):
        spec.refuse_unknown("podSelector", "policyTypes", *_RULES_FIELD.values())
    rules = {}
    for direction in directions:
        tables = _each(spec, _RULES_FIELD[direction], lambda table: table, faults)
        rules[direction] = tuple(
            _rule(index, table, direction, namespace, faults) for index, table in enumerate(tables)
        )
    return rules


def _rule(
    index: int, table: Table, direction: Direction, namespace: str, faults: list[str]
) -> Rule:
    peers_field = _PEERS_FIELD[direction]
    with _noted(faults):
        table.refuse_unknown(peers_field, "ports")
    peers = _each(table, peers_field, lambda entry: _peer(entry, namespace), faults)
    ports = _each(table, "ports", _port, faults)
    return Rule(index=index, peers=peers or None, ports=ports or None)


def _each(table: Table, field: str, read: Callable[[Table], T], faults: list[str]) -> tuple[T, ...]:
    """Return what `read` makes of the entries of a list; what it refuses is told in `faults`."""
    found = []
    with _noted(faults):
        for path, raw in table.items(field):
            with _noted(faults):
                found.append(read(table_of(raw, path)))
    return tuple(found)


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        faults.append(str(error))


def _peer(table: Table, namespace: str) -> Peer:
    table.refuse_unknown("podSelector", "namespaceSelector", "ipBlock")
    by_labels = table.has("podSelector") or table.has("namespaceSelector")
    if by_labels is table.has("ipBlock"):
        remedy = "write a podSelector, a namespaceSelector or both, or else an ipBlock"
        raise refusal(table.path, dict(table.values), remedy)
    if table.has("ipBlock"):
        return parse_block(table.table("ipBlock"))
    pods, namespaces = table.table("podSelector"), table.table("namespaceSelector")
    return PodPeer(
        namespaces=parse_selector(namespaces) if table.has("namespaceSelector") else namespace,
        pods=parse_selector(pods) if table.has("podSelector") else EVERYTHING,
    )


def _port(table: Table) -> Port:
    table.refuse_unknown("protocol", "port", "endPort")
    protocol = parse_protocol(table.text("protocol"), table.at("protocol"))
    port = table.values.get("port")
    if table.has("endPort") and not isinstance(port, int):
        raise refusal(table.at("endPort"), table.values["endPort"], "it needs a numeric port")
    if port is None:
        return PortRange(protocol=protocol)
    if isinstance(port, str):
        return PortName(name=parse_port_name(port, table.at("port")), protocol=protocol)
    first = table.number("port", 1, LAST_PORT)
    # An end behind the last port is no harm, and known implementations read it so.
    last = table.number("endPort", first, _ANY_NUMBER) if table.has("endPort") else first
    return PortRange(protocol=protocol, first=first, last=min(last, LAST_PORT))


def parse_port_name(text: str, path: str) -> str:
    """Return the name of a port. Raises UsageError where no container may have it (RFC 6335)."""
    is_name = re.fullmatch(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*", text) and len(text) <= 15
    if not is_name:
        remedy = "write a number without quotes, or a name: up to 15 of a-z, 0-9 and inner -"
        raise refusal(path, text, remedy)
    return text
