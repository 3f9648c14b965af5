"""The policy maps in the kernel: entries of `model/policy_maps.py` as bytes, and back. Blocking.

Source: bpf/contract.h, whose structs `contract` mirrors; here they are packed by the ten thousand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from terway.linux.bpf import Map
from terway.linux.bpf_batch import delete_many, update_many
from terway.linux.ebpf.contract import POLICY_NET_BEFORE
from terway.model.address import Family, IPAddress
from terway.model.errors import TransientError, VpcError
from terway.model.policy_maps import (
    ClassNumber,
    Content,
    Generation,
    Key,
    Keys,
    Lanes,
    PageOf,
    Pair,
    Prefix,
    RuleSetNumber,
    Turn,
    Word,
)

Dump = Mapping[str, Mapping[bytes, bytes]]  # entries by map

MAP_FULL = "MapFull"
SIZE_KEY = "ebpf_policy_entries"  # of eni-config
NAMES = (
    "policy_generation",
    "policy_sides",
    "policy_hosts",
    "policy_nets_turn",
    "policy_nets",
    "policy_verdicts",
    "policy_ports",
)

NUMBER = struct.Struct("=I")
TURN = struct.Struct("=III")
SIDES_TURN = struct.Struct("=I4I4I")
HOST = struct.Struct("=16sI")
PREFIX = struct.Struct("=III16s")
PAIR = struct.Struct("=II")
PAGE_OF = struct.Struct("=IBBxx")

_ONLY = NUMBER.pack(0)
_FULL = frozenset(("E2BIG", "ENOSPC"))  # of hashes, of tries
# Of what is there when something else refers to it, first: pages before words, words before lanes.
_PAGES, _VERDICTS, _NETS, _HOSTS, _SIDES = (
    "policy_ports",
    "policy_verdicts",
    "policy_nets",
    "policy_hosts",
    "policy_sides",
)

K = TypeVar("K")
V = TypeVar("V")


class PolicyMaps:
    """The maps of the loaded data path, by name."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = {name: maps[name] for name in NAMES}

    def read(self) -> Content:
        """Return all that is there. Some 2 us an entry."""
        return content_of(self.dump())

    def dump(self) -> Dump:
        """Return all entries as bytes."""
        return {name: one.items() for name, one in self._maps.items()}

    def put(self, content: Content) -> None:
        """Put entries; nothing of it counts before `switch`.

        Raises TransientError, code MAP_FULL, where a map has no room: some are there then.
        """
        self._put(_PAGES, {pack_page_of(one): bits for one, bits in content.pages.items()})
        self._put(
            _VERDICTS,
            {PAIR.pack(*one): NUMBER.pack(word) for one, word in content.verdicts.items()},
        )
        self._put(
            _NETS,
            {pack_prefix(one): NUMBER.pack(number) for one, number in content.nets.items()},
        )
        if content.nets_turn is not None:
            self._put("policy_nets_turn", {_ONLY: pack_turn(content.nets_turn)})
        self._put(_HOSTS, {pack_host(one): pack_turn(turn) for one, turn in content.hosts.items()})
        self._put(
            _SIDES, {NUMBER.pack(one): pack_sides(turn) for one, turn in content.sides.items()}
        )

    def switch(self, generation: Generation) -> None:
        """Have all that was put count, from one packet to the next."""
        self._maps["policy_generation"].update(_ONLY, NUMBER.pack(generation))

    def remove(self, keys: Keys) -> None:
        """Remove entries; those that are not there are no matter."""
        found: dict[str, list[bytes]] = {}
        for key in keys:
            name, packed = _place_of(key)
            found.setdefault(name, []).append(packed)
        for name, packed_keys in found.items():
            delete_many(self._maps[name], packed_keys)

    def mark(self) -> object:
        """Return what is another after somebody changed what pods' packets meet first.

        Of all maps that would be too much for every second: it is the rule sets of this node's
        pods, the nets and the generation; the others are compared now and then.
        """
        sides = tuple(sorted(self._maps[_SIDES].items().items()))
        return sides, self._maps["policy_nets_turn"].lookup(_ONLY), self.generation()

    def generation(self) -> Generation:
        """Return what is in force; 0 where nobody has written anything yet."""
        return Generation(_unpack_number(self._maps["policy_generation"].lookup(_ONLY) or _ONLY))

    def _put(self, name: str, entries: Mapping[bytes, bytes]) -> None:
        target = self._maps[name]
        with _full_is_told(target):
            update_many(target, entries)


def content_of(dump: Dump) -> Content:
    """Return what a dump says."""
    generation = dump["policy_generation"].get(_ONLY, _ONLY)
    turn = dump["policy_nets_turn"].get(_ONLY)
    return Content(
        generation=Generation(_unpack_number(generation)),
        sides=_read(dump[_SIDES], _unpack_number, unpack_sides),
        hosts=_read(dump[_HOSTS], unpack_host, unpack_class_turn),
        nets_turn=None if turn is None else Turn(*_unpack_turn(turn)),
        nets=_read(dump[_NETS], unpack_prefix, _unpack_class),
        verdicts=_read(dump[_VERDICTS], unpack_pair, _unpack_word),
        pages=_read(dump[_PAGES], unpack_page_of, bytes),
    )


@contextmanager
def _full_is_told(target: Map) -> Iterator[None]:
    try:
        yield
    except VpcError as error:
        if error.code not in _FULL:
            raise
        text = f"map {target.name} is full: it has room for {target.max_entries} entries"
        remedy = f"raise {SIZE_KEY} in eni-config, and restart terwayd"
        raise TransientError(f"{text}; {remedy}", code=MAP_FULL) from error


def _read(
    source: Mapping[bytes, bytes], key_of: Callable[[bytes], K], value_of: Callable[[bytes], V]
) -> dict[K, V]:
    return {key_of(key): value_of(value) for key, value in source.items()}


def _place_of(key: Key) -> tuple[str, bytes]:
    """Return the map that has a key, and the key's bytes."""
    match key:
        case Prefix():
            return _NETS, pack_prefix(key)
        case Pair():
            return _VERDICTS, PAIR.pack(*key)
        case PageOf():
            return _PAGES, pack_page_of(key)
        case int():
            return _SIDES, NUMBER.pack(key)
        case _:
            return _HOSTS, pack_host(key)


def pack_host(address: IPAddress) -> bytes:
    """Return the key of `policy_hosts`."""
    return HOST.pack(address.packed, address.version)


def unpack_host(key: bytes) -> IPAddress:
    """Return the address that a key of `policy_hosts` is."""
    packed, family = HOST.unpack(key)
    return IPv4Address(packed[:4]) if family == Family.V4.value else IPv6Address(packed)


def pack_turn(turn: Turn[ClassNumber] | Turn[int]) -> bytes:
    """Return a struct policy_turn."""
    return TURN.pack(turn.since, turn.before, turn.after)


def _unpack_turn(value: bytes) -> tuple[Generation, int, int]:
    since, before, after = TURN.unpack(value)
    return Generation(since), before, after


def unpack_class_turn(value: bytes) -> Turn[ClassNumber]:
    """Return what a value of `policy_hosts` is."""
    since, before, after = _unpack_turn(value)
    return Turn(since, ClassNumber(before), ClassNumber(after))


def pack_sides(turn: Turn[Lanes]) -> bytes:
    """Return a struct policy_sides."""
    return SIDES_TURN.pack(turn.since, *turn.before, *turn.after)


def unpack_sides(value: bytes) -> Turn[Lanes]:
    """Return what a value of `policy_sides` is."""
    since, *numbers = SIDES_TURN.unpack(value)
    rule_sets = [RuleSetNumber(one) for one in numbers]
    return Turn(Generation(since), Lanes(*rule_sets[:4]), Lanes(*rule_sets[4:]))


def pack_prefix(one: Prefix) -> bytes:
    """Return the key of `policy_nets`."""
    packed = one.address.to_bytes(one.family.max_prefixlen // 8, "big")
    return PREFIX.pack(POLICY_NET_BEFORE + one.length, one.nets, one.family.value, packed)


def unpack_prefix(key: bytes) -> Prefix:
    """Return what a key of `policy_nets` is."""
    length, nets, number, packed = PREFIX.unpack(key)
    family = Family.V4 if number == Family.V4.value else Family.V6
    address = int.from_bytes(packed[: family.max_prefixlen // 8], "big")
    return Prefix(nets, family, address, length - POLICY_NET_BEFORE)


def unpack_pair(key: bytes) -> Pair:
    """Return what a key of `policy_verdicts` is."""
    rule_set, class_id = PAIR.unpack(key)
    return Pair(RuleSetNumber(rule_set), ClassNumber(class_id))


def pack_page_of(one: PageOf) -> bytes:
    """Return the key of `policy_ports`."""
    return PAGE_OF.pack(*one)


def unpack_page_of(key: bytes) -> PageOf:
    """Return what a key of `policy_ports` is."""
    return PageOf(*PAGE_OF.unpack(key))


def _unpack_number(data: bytes) -> int:
    return int(NUMBER.unpack(data)[0])


def _unpack_class(data: bytes) -> ClassNumber:
    return ClassNumber(_unpack_number(data))


def _unpack_word(data: bytes) -> Word:
    return Word(_unpack_number(data))
