"""What is in a table of nftables? Made by a printer, held by the kernel, read by a lifter.

Source: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c for how the kernel
shows what it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from terway.model.nft_rule import Expression, Verdict

TABLE_DORMANT = 0x1  # its chains are at no hook
TABLE_OWNER = 0x2  # only the socket that made it may change it
FLAG_CONSTANT = 0x2  # no element comes or goes once a rule refers to it
FLAG_INTERVAL = 0x4
FLAG_MAP = 0x8
FLAG_CONCAT = 0x80


class Hook(Enum):
    """Where a base chain sees packets; the values are NF_INET_*."""

    INPUT = 1
    FORWARD = 2
    OUTPUT = 3


class KeyType(Enum):
    """What a field of a key is. The values are nft(8)'s numbers for it, and its bytes."""

    IPV4 = (7, 4)
    IPV6 = (8, 16)
    PROTOCOL = (12, 1)
    PORT = (13, 2)
    IFNAME = (41, 16)

    @property
    def number(self) -> int:
        """Return the number of the type."""
        return self.value[0]

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return self.value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseChain:
    """Where a chain is hooked; type filter, policy accept."""

    hook: Hook
    priority: int = 0
    is_plain: bool = True  # False: of another type or policy than ours ever have


@dataclass(frozen=True, slots=True, kw_only=True)
class SetShape:
    """What a set or map is made of; `flags` includes those that say so to the kernel."""

    key: tuple[KeyType, ...]
    flags: int = 0

    @property
    def is_map(self) -> bool:
        """Return whether its elements have verdicts."""
        return bool(self.flags & FLAG_MAP)

    @property
    def is_interval(self) -> bool:
        """Return whether its elements are from one key to another."""
        return bool(self.flags & FLAG_INTERVAL)

    @property
    def key_size(self) -> int:
        """Return the bytes of a key, each field filled up to four."""
        if len(self.key) == 1:
            return self.key[0].size
        return sum((one.size + 3) & ~3 for one in self.key)


@dataclass(frozen=True, slots=True)
class Element:
    """One key, or all from `key` to `last` (both included) where the set has intervals."""

    key: bytes
    last: bytes | None = None
    verdict: Verdict | None = None


Rule = tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain and its rules, in order."""

    base: BaseChain | None = None
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set or map and what is in it. `shape` is None where we never make such a set."""

    shape: SetShape | None
    elements: frozenset[Element] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of family inet as it is in the kernel, at one generation; ours have no flags."""

    name: str
    flags: int = 0
    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, Set] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddTable:
    """Make the table, unless it is there."""


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Remove the table with all that is in it."""


@dataclass(frozen=True, slots=True)
class AddChain:
    """Make a chain without rules."""

    name: str
    base: BaseChain | None = None


@dataclass(frozen=True, slots=True)
class FlushChain:
    """Remove the rules of a chain."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteChain:
    """Remove a chain that is flushed and that nothing refers to."""

    name: str


@dataclass(frozen=True, slots=True)
class AddRule:
    """Put a rule at the end of a chain."""

    chain: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class AddSet:
    """Make a set or map without elements."""

    name: str
    shape: SetShape


@dataclass(frozen=True, slots=True)
class DeleteSet:
    """Remove a set that nothing refers to, with its elements."""

    name: str


@dataclass(frozen=True, slots=True)
class AddElements:
    """Put elements into a set."""

    set: str
    shape: SetShape
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Take elements, by their keys, out of a set that has no intervals."""

    set: str
    shape: SetShape
    elements: tuple[Element, ...]


Operation = (
    AddTable
    | DeleteTable
    | AddChain
    | FlushChain
    | DeleteChain
    | AddRule
    | AddSet
    | DeleteSet
    | AddElements
    | DeleteElements
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """How a table changes: each part as one, in this order.

    `make` is seen by nobody yet and may be sent in pieces, as may `remove`, which nobody sees any
    more; `switch` is all or nothing.
    """

    make: tuple[Operation, ...] = ()
    switch: tuple[Operation, ...] = ()
    remove: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.make or self.switch or self.remove)
