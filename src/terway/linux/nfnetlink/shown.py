"""What the kernel shows of a table: its chains, rules, sets and elements as values."""

from __future__ import annotations

from collections.abc import Callable

from terway.linux.netlink.codec import attributes, text
from terway.linux.nfnetlink.elements import Found, decode_element
from terway.linux.nfnetlink.expressions import decode_rule
from terway.linux.nfnetlink.operations import (
    CHAIN_HOOK,
    CHAIN_NAME,
    CHAIN_POLICY,
    CHAIN_TYPE,
    ELEMENTS_LIST,
    ELEMENTS_SET,
    HOOK_NUMBER,
    HOOK_PRIORITY,
    POLICY_ACCEPT,
    RULE_CHAIN,
    RULE_EXPRESSIONS,
    SET_DATA_TYPE,
    SET_EXPRESSION,
    SET_EXPRESSIONS,
    SET_FLAGS,
    SET_KEY_TYPE,
    SET_NAME,
    TABLE,
    TABLE_FLAGS,
    TYPE_BITS,
    VERDICT_TYPE,
)
from terway.linux.nfnetlink.wire import (
    HEADER_SIZE,
    items,
    nfgenmsg,
    read_number,
    read_signed,
    word,
)
from terway.model.nft import (
    FLAG_CONCAT,
    FLAG_CONSTANT,
    FLAG_INTERVAL,
    FLAG_MAP,
    BaseChain,
    Hook,
    KeyType,
    Rule,
    SetShape,
)

_GENERATION = 1
_FLAGS_OF_OURS = FLAG_CONSTANT | FLAG_INTERVAL | FLAG_MAP | FLAG_CONCAT
_HOOKS = {one.value: one for one in Hook}
_KEY_TYPES = {one.number: one for one in KeyType}
_TYPE_MASK = (1 << TYPE_BITS) - 1


def tables_query() -> bytes:
    """Return the question for all tables."""
    return nfgenmsg()


def chains_query() -> bytes:
    """Return the question for the chains of all tables; the kernel knows no narrower one."""
    return nfgenmsg()


def rules_query(table: str) -> bytes:
    """Return the question for a table's rules."""
    return nfgenmsg() + word(TABLE, table)


def sets_query(table: str) -> bytes:
    """Return the question for a table's sets."""
    return nfgenmsg() + word(TABLE, table)


def elements_query(table: str, name: str) -> bytes:
    """Return the question for a set's elements."""
    return nfgenmsg() + word(TABLE, table) + word(ELEMENTS_SET, name)


def generation_of(body: bytes) -> int | None:
    """Return the number that every transaction of anybody raises."""
    return read_number(attributes(body, HEADER_SIZE).get(_GENERATION))


def table_of(body: bytes) -> tuple[str, int]:
    """Return a table's name and flags."""
    found = attributes(body, HEADER_SIZE)
    return text(found[TABLE]), read_number(found.get(TABLE_FLAGS)) or 0


def chain_of(table: str) -> Callable[[bytes], tuple[str, BaseChain | None] | None]:
    """Return a decoder for chains of one table: name, and where it is hooked."""

    def decode(body: bytes) -> tuple[str, BaseChain | None] | None:
        found = attributes(body, HEADER_SIZE)
        if text(found[TABLE]) != table:
            return None
        return text(found[CHAIN_NAME]), _base(found)

    return decode


def rule_of(body: bytes) -> tuple[str, Rule]:
    """Return the chain of a rule, and the rule."""
    found = attributes(body, HEADER_SIZE)
    return text(found[RULE_CHAIN]), decode_rule(found.get(RULE_EXPRESSIONS, b""))


def set_of(body: bytes) -> tuple[str, SetShape | None]:
    """Return a set's name and shape; None for a shape that we never make."""
    found = attributes(body, HEADER_SIZE)
    flags = read_number(found.get(SET_FLAGS)) or 0
    key = _key_types(read_number(found.get(SET_KEY_TYPE)) or 0)
    holds = read_number(found.get(SET_DATA_TYPE))
    # What is done at each look-up may end the rule that looks.
    is_plain = SET_EXPRESSION not in found and SET_EXPRESSIONS not in found
    is_ours = bool(key) and not flags & ~_FLAGS_OF_OURS and holds in (None, VERDICT_TYPE)
    return text(found[SET_NAME]), SetShape(key=key, flags=flags) if is_ours and is_plain else None


def elements_of(body: bytes) -> list[Found | None]:
    """Return the elements that one message of a dump holds."""
    found = attributes(body, HEADER_SIZE)
    return [decode_element(item) for item in items(found.get(ELEMENTS_LIST, b""))]


def _base(found: dict[int, bytes]) -> BaseChain | None:
    if CHAIN_HOOK not in found:
        return None
    place = attributes(found[CHAIN_HOOK])
    hook = _HOOKS.get(read_number(place.get(HOOK_NUMBER)) or 0)
    priority = read_signed(place.get(HOOK_PRIORITY, b""))
    accepts = read_number(found.get(CHAIN_POLICY)) == POLICY_ACCEPT
    is_plain = accepts and text(found.get(CHAIN_TYPE, b"")) == "filter" and hook is not None
    return BaseChain(hook=hook or Hook.INPUT, priority=priority, is_plain=is_plain)


def _key_types(number: int) -> tuple[KeyType, ...]:
    """Return the fields of a key, none where one of them is no type of ours."""
    fields: list[KeyType] = []
    while number:
        known = _KEY_TYPES.get(number & _TYPE_MASK)
        if known is None:
            return ()
        fields.insert(0, known)
        number >>= TYPE_BITS
    return tuple(fields)
