"""A set of ports as chains: what is in it returns to who asked, the rest is denied.

tcp80_udp:  ct direction reply goto tcp80_udp_replies
            meta l4proto udp return                     a whole protocol
            meta l4proto . th dport @tcp80_udp return
            goto deny
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.model.nft import (
    FLAG_CONCAT,
    FLAG_CONSTANT,
    FLAG_INTERVAL,
    Element,
    KeyType,
    Rule,
    SetShape,
)
from terway.model.nft_rule import RETURN, Verdict
from terway.policy.cluster import Protocol
from terway.policy.nft.names import Names
from terway.policy.nft.words import (
    PROTOCOL_NUMBERS,
    End,
    goto,
    in_set,
    is_not_protocol,
    is_protocol,
    is_reply,
    protocol_and_port,
    then,
)
from terway.policy.ports import EVERY_PORT, LAST_PORT, NOTHING, PortSet

_KEY = (KeyType.PROTOCOL, KeyType.PORT)
_SINGLE = SetShape(key=_KEY, flags=FLAG_CONCAT | FLAG_CONSTANT)
_RANGES = SetShape(key=_KEY, flags=FLAG_CONCAT | FLAG_CONSTANT | FLAG_INTERVAL)
_KEY_STRUCT = struct.Struct(">B3xH2x")
_WHOLE = ((0, LAST_PORT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRules:
    """What a set of ports is in the table; `shape` is None where no set is needed."""

    chains: Mapping[str, tuple[Rule, ...]]
    set_name: str
    shape: SetShape | None
    elements: frozenset[Element]


def verdict_of(ports: PortSet, names: Names) -> Verdict:
    """Return what becomes of who may use `ports` and no others."""
    if ports == EVERY_PORT:
        return RETURN
    return goto(names.of("deny")) if ports == NOTHING else goto(names.ports(ports))


def needs_chain(ports: PortSet) -> bool:
    """Return whether it takes a chain to tell what is in it."""
    return ports not in (EVERY_PORT, NOTHING)


def print_ports(ports: PortSet, names: Names) -> PortRules:
    """Return the chains and the set that `ports` are, which are neither all nor none."""
    elements = frozenset(_elements(ports))
    name = names.ports(ports)
    is_single = all(element.last is None for element in elements)
    shape = (_SINGLE if is_single else _RANGES) if elements else None
    if shape is _RANGES:
        elements = frozenset(Element(one.key, one.last or one.key) for one in elements)
    chains: dict[str, tuple[Rule, ...]] = {}
    asked: tuple[Rule, ...] = ()
    if elements:
        replies = names.port_replies(ports)
        chains[replies] = tuple(_rules(ports, names, End.SOURCE))
        asked = ((*is_reply(), then(goto(replies))),)
    chains[name] = asked + tuple(_rules(ports, names, End.DESTINATION))
    return PortRules(chains=chains, set_name=name, shape=shape, elements=elements)


def _rules(ports: PortSet, names: Names, end: End) -> Iterator[Rule]:
    for protocol, number in PROTOCOL_NUMBERS.items():
        if ports.of(protocol) == _WHOLE:
            yield (*is_protocol(number), then(RETURN))
    if any(_in_part(ports)):
        yield (*protocol_and_port(end), in_set(names.ports(ports)), then(RETURN))
    if ports.other:
        others = (is_not_protocol(number) for number in PROTOCOL_NUMBERS.values())
        yield (*(one for each in others for one in each), then(RETURN))
    yield (then(goto(names.of("deny"))),)


def _in_part(ports: PortSet) -> Iterator[tuple[Protocol, int, int]]:
    """Yield the intervals of protocols that are not there as a whole."""
    for protocol in PROTOCOL_NUMBERS:
        intervals = ports.of(protocol)
        if intervals != _WHOLE:
            yield from ((protocol, first, last) for first, last in intervals)


def _elements(ports: PortSet) -> Iterator[Element]:
    for protocol, first, last in _in_part(ports):
        number = PROTOCOL_NUMBERS[protocol]
        end = None if first == last else _KEY_STRUCT.pack(number, last)
        yield Element(_KEY_STRUCT.pack(number, first), end)


def read_ports(rules: tuple[Rule, ...], elements: frozenset[Element]) -> PortSet:
    """Return the set of ports that a chain and its set would be printed from, if any is.

    A guess: whoever asks prints it again, and compares.
    """
    found = {protocol: _read_intervals(number, elements) for protocol, number in _NUMBERS}
    for protocol, number in _NUMBERS:
        if (*is_protocol(number), then(RETURN)) in rules:
            found[protocol] = _WHOLE
    others = tuple(one for _p, number in _NUMBERS for one in is_not_protocol(number))
    return PortSet(
        tcp=found[Protocol.TCP],
        udp=found[Protocol.UDP],
        sctp=found[Protocol.SCTP],
        other=(*others, then(RETURN)) in rules,
    )


_NUMBERS = tuple(PROTOCOL_NUMBERS.items())


def _read_intervals(number: int, elements: frozenset[Element]) -> tuple[tuple[int, int], ...]:
    ends = (
        (_KEY_STRUCT.unpack(one.key), _KEY_STRUCT.unpack(one.last or one.key)) for one in elements
    )
    return tuple(sorted((low[1], high[1]) for low, high in ends if low[0] == number == high[0]))
