"""What do the rules of a table do with a packet? As the kernel runs them, expression by expression.

It knows nothing of what rules are for: it is what they are judged by. Source:
net/netfilter/nf_tables_core.c (nft_do_chain); registers are 64 bytes in words of four.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable

from terway.model.errors import BugError
from terway.model.nft import Element, Hook, Rule, Set, Table
from terway.model.nft_rule import (
    DROP,
    Bitwise,
    Cmp,
    CmpOp,
    Ct,
    CtKey,
    Decide,
    Expression,
    Limit,
    Log,
    Lookup,
    Meta,
    MetaKey,
    OneIn,
    Payload,
    PayloadBase,
    Reject,
    Verdict,
    VerdictKind,
)
from terway.policy.nft.packet import Packet

_COMPARISONS: dict[CmpOp, Callable[[bytes, bytes], bool]] = {
    CmpOp.EQ: operator.eq,
    CmpOp.NEQ: operator.ne,
    CmpOp.LT: operator.lt,
    CmpOp.LTE: operator.le,
    CmpOp.GT: operator.gt,
    CmpOp.GTE: operator.ge,
}
_REGISTERS_BYTES = 80
_WIDE_REGISTERS = 4  # 1 to 4 have 16 bytes, from 8 on four
_FIRST_WORD = 8
_DEEPEST = 16  # NFT_JUMP_STACK_SIZE


class _Run:
    """A packet on its way, and the registers."""

    __slots__ = ("headers", "meta", "registers", "tracking")

    def __init__(self, packet: Packet) -> None:
        self.registers = bytearray(_REGISTERS_BYTES)
        self.meta: dict[MetaKey, bytes] = packet.meta()
        self.tracking: dict[CtKey, bytes] = packet.tracking()
        self.headers = {
            PayloadBase.NETWORK: packet.network(),
            PayloadBase.TRANSPORT: packet.transport(),
        }


# None goes on, False ends the rule, a verdict ends it, too.
_Step = Callable[[_Run], Verdict | bool | None]


class Interpreter:
    """The rules of one table, ready to run. Raises BugError for a rule it does not know."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._chains: dict[str, tuple[tuple[_Step, ...], ...]] = {}
        self._sets: dict[str, Callable[[bytes], Element | None]] = {}
        bases = [(chain.base, name) for name, chain in table.chains.items() if chain.base]
        ordered = sorted(bases, key=lambda one: one[0].priority)
        self._hooks = {
            hook: tuple(name for base, name in ordered if base.hook is hook) for hook in Hook
        }

    def accepts(self, packet: Packet) -> bool:
        """Return whether the packet goes on past its hook."""
        run = _Run(packet)
        return all(
            verdict is None or verdict.kind is VerdictKind.ACCEPT
            for verdict in (self._walk(name, run, 0) for name in self._hooks[packet.hook])
        )

    def _walk(self, name: str, run: _Run, depth: int) -> Verdict | None:
        """Return what a chain decides; None: it returns, or ends."""
        if depth > _DEEPEST:
            raise BugError(f"chain {name}: more than {_DEEPEST} jumps deep")
        rules = self._chains.get(name) or self._prepare(name)
        for rule in rules:
            verdict: Verdict | bool | None = None
            for step in rule:
                verdict = step(run)
                if verdict is not None:
                    break
            if not isinstance(verdict, Verdict):
                continue
            if verdict.kind is VerdictKind.GOTO:
                return self._walk(verdict.chain, run, depth + 1)
            if verdict.kind is VerdictKind.RETURN:
                return None
            if verdict.kind is not VerdictKind.JUMP:
                return verdict
            decided = self._walk(verdict.chain, run, depth + 1)
            if decided is not None:
                return decided
        return None

    def _prepare(self, name: str) -> tuple[tuple[_Step, ...], ...]:
        rules = self._table.chains[name].rules
        prepared = tuple(self._rule(name, rule) for rule in rules)
        self._chains[name] = prepared
        return prepared

    def _rule(self, chain: str, rule: Rule) -> tuple[_Step, ...]:
        return tuple(self._step(chain, one) for one in rule)

    def _step(self, chain: str, one: Expression) -> _Step:
        match one:
            case Meta() | Ct() | Payload():
                return _load(one)
            case Bitwise() | Cmp():
                return _test(one)
            case Lookup():
                return self._lookup(one)
            case Decide() | Reject():
                verdict = one.verdict if isinstance(one, Decide) else DROP
                return lambda run: verdict
            case Limit() | Log() | OneIn():
                return _let_through(one)
            case _:
                raise BugError(f"chain {chain}: no rule of ours has {one}")

    def _lookup(self, one: Lookup) -> _Step:
        found = self._table.sets[one.set]
        find = self._sets.setdefault(one.set, _finder(found))
        start, size = _place(one.register), found.shape.key_size if found.shape else 0

        def look(run: _Run) -> Verdict | bool | None:
            element = find(bytes(run.registers[start : start + size]))
            if element is None:
                return False
            return element.verdict if one.is_verdict else None

        return look


def _place(register: int) -> int:
    """Return where a register begins."""
    if register <= _WIDE_REGISTERS:
        return 16 * (register - 1)
    return 4 * (register - _FIRST_WORD)


def _put(registers: bytearray, start: int, value: bytes) -> None:
    """Put a value in a register; the rest of its last word becomes zero."""
    registers[start : start + ((len(value) + 3) & ~3)] = value + bytes(-len(value) % 4)


def _load(one: Meta | Ct | Payload) -> _Step:
    start = _place(one.register)

    def load(run: _Run) -> bool | None:
        value = _value(one, run)
        if value is None:
            return False
        _put(run.registers, start, value)
        return None

    return load


def _value(one: Meta | Ct | Payload, run: _Run) -> bytes | None:
    match one:
        case Meta(key=key):
            return run.meta.get(key)
        case Ct(key=key):
            return run.tracking.get(key)
        case Payload(base=base, offset=offset, length=length):
            found = run.headers[base][offset : offset + length]
            return found if len(found) == length else None


def _let_through(one: Limit | Log | OneIn) -> _Step:
    """Return what goes on: no limit is reached, and chance chooses every packet."""

    def go_on(run: _Run) -> None:
        if isinstance(one, OneIn):
            _put(run.registers, _place(one.register), bytes(4))

    return go_on


def _test(one: Bitwise | Cmp) -> _Step:
    start = _place(one.register)
    if isinstance(one, Bitwise):
        mask = one.mask

        def keep(run: _Run) -> None:
            value = run.registers[start : start + len(mask)]
            kept = bytes(bit & by for bit, by in zip(value, mask, strict=True))
            _put(run.registers, start, kept)

        return keep
    compare, value = _COMPARISONS[one.op], one.value
    end = start + len(value)
    return lambda run: None if compare(bytes(run.registers[start:end]), value) else False


def _finder(found: Set) -> Callable[[bytes], Element | None]:
    """Return what finds the element for a key."""
    shape = found.shape
    if shape is None:
        raise BugError("a rule looks into a set that we never make")
    if not shape.is_interval:
        return {element.key: element for element in found.elements}.get
    if len(shape.key) > 1:
        return _field_finder(found, [(one.size + 3) & ~3 for one in shape.key])
    ordered = sorted(found.elements, key=lambda one: one.key)
    keys = [one.key for one in ordered]

    def find(key: bytes) -> Element | None:
        place = bisect_right(keys, key) - 1
        if place < 0 or key > (ordered[place].last or ordered[place].key):
            return None
        return ordered[place]

    return find


def _field_finder(found: Set, sizes: list[int]) -> Callable[[bytes], Element | None]:
    """Return what finds an element by fields that each have an interval of their own."""
    spans: list[tuple[int, int]] = []
    for size in sizes:
        start = spans[-1][1] if spans else 0
        spans.append((start, start + size))
    known: dict[bytes, Element | None] = {}

    def is_in(key: bytes, element: Element) -> bool:
        last = element.last or element.key
        return all(element.key[a:b] <= key[a:b] <= last[a:b] for a, b in spans)

    def find(key: bytes) -> Element | None:
        if key not in known:
            known[key] = next((one for one in found.elements if is_in(key, one)), None)
        return known[key]

    return find
