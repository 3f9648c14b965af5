"""Operations on a table as messages of nf_tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from terway.linux.netlink.codec import NLM_F_APPEND, NLM_F_CREATE, U32, attr, nested
from terway.linux.nfnetlink.elements import encode_elements
from terway.linux.nfnetlink.expressions import encode_rule
from terway.linux.nfnetlink.wire import LIST_ELEM, number, word
from terway.model.nft import (
    FLAG_CONCAT,
    FLAG_MAP,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    BaseChain,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    KeyType,
    Operation,
    SetShape,
)

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
GETGEN = 16

TABLE = 1  # the table's name in every kind of message
TABLE_FLAGS = 2
CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_CHAIN, RULE_EXPRESSIONS = 2, 4
SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_SIZE = 2, 3, 4, 5
SET_DATA_TYPE, SET_DATA_SIZE, SET_DESC, SET_ID = 6, 7, 9, 10
SET_EXPRESSION, SET_EXPRESSIONS = 17, 18
ELEMENTS_SET, ELEMENTS_LIST = 2, 3
_DESC_CONCAT, _FIELD_SIZE = 2, 1

_SET_USERDATA = 13
# For nft(8), which would print names backwards: key byte order (0), 4 bytes, that of the host (1).
_USERDATA_STRINGS = bytes((0, 4)) + U32.pack(1)

VERDICT_TYPE = 0xFFFFFF00  # NFT_DATA_VERDICT
TYPE_BITS = 6  # each field of a concatenation, in nft(8)'s number for it
POLICY_ACCEPT = 1


@dataclass(frozen=True, slots=True)
class NftMessage:
    """One message of a batch; `what` names it in errors."""

    type: int
    flags: int
    attributes: bytes
    what: str


def encode(table: str, operation: Operation) -> Iterator[NftMessage]:
    """Yield the messages of an operation: one, or several for many elements."""
    named = word(TABLE, table)
    match operation:
        case AddTable():
            yield NftMessage(NEWTABLE, NLM_F_CREATE, named, f"add table {table}")
        case DeleteTable():
            yield NftMessage(DELTABLE, 0, named, f"delete table {table}")
        case AddChain(name=name, base=base):
            body = named + word(CHAIN_NAME, name) + _hook(base)
            yield NftMessage(NEWCHAIN, NLM_F_CREATE, body, f"add chain {table} {name}")
        case DeleteChain(name=name):
            body = named + word(CHAIN_NAME, name)
            yield NftMessage(DELCHAIN, 0, body, f"delete chain {table} {name}")
        case FlushChain(name=name):
            body = named + word(RULE_CHAIN, name)
            yield NftMessage(DELRULE, 0, body, f"flush chain {table} {name}")
        case AddRule(chain=chain, rule=rule):
            expressions = nested(RULE_EXPRESSIONS, encode_rule(rule))
            body = named + word(RULE_CHAIN, chain) + expressions
            yield NftMessage(
                NEWRULE, NLM_F_CREATE | NLM_F_APPEND, body, f"add rule {table} {chain}"
            )
        case AddSet() | DeleteSet() | AddElements() | DeleteElements():
            yield from _encode_set(table, named, operation)
        case _:
            assert_never(operation)


def _encode_set(
    table: str, named: bytes, operation: AddSet | DeleteSet | AddElements | DeleteElements
) -> Iterator[NftMessage]:
    match operation:
        case AddSet(name=name, shape=shape):
            body = named + word(SET_NAME, name) + _shape(shape)
            yield NftMessage(NEWSET, NLM_F_CREATE, body, f"add set {table} {name}")
        case DeleteSet(name=name):
            yield NftMessage(DELSET, 0, named + word(SET_NAME, name), f"delete set {table} {name}")
        case AddElements(set=name, shape=shape, elements=elements):
            for part in encode_elements(shape, elements):
                body = named + word(ELEMENTS_SET, name) + nested(ELEMENTS_LIST, part)
                what = f"add elements to {table} {name}"
                yield NftMessage(NEWSETELEM, NLM_F_CREATE, body, what)
        case DeleteElements(set=name, shape=shape, elements=elements):
            for part in encode_elements(shape, elements):
                body = named + word(ELEMENTS_SET, name) + nested(ELEMENTS_LIST, part)
                yield NftMessage(DELSETELEM, 0, body, f"delete elements from {table} {name}")


def _hook(base: BaseChain | None) -> bytes:
    if base is None:
        return b""
    place = number(HOOK_NUMBER, base.hook.value) + number(HOOK_PRIORITY, base.priority)
    return (
        nested(CHAIN_HOOK, place) + number(CHAIN_POLICY, POLICY_ACCEPT) + word(CHAIN_TYPE, "filter")
    )


def type_number(shape: SetShape) -> int:
    """Return nft(8)'s number for the type of a key, of one field or several."""
    made = 0
    for one in shape.key:
        made = made << TYPE_BITS | one.number
    return made


def _shape(shape: SetShape) -> bytes:
    key = number(SET_KEY_TYPE, type_number(shape)) + number(SET_KEY_SIZE, shape.key_size)
    verdicts = b""
    if shape.flags & FLAG_MAP:
        verdicts = number(SET_DATA_TYPE, VERDICT_TYPE) + number(SET_DATA_SIZE, 0)
    fields = b""
    if shape.flags & FLAG_CONCAT:
        sizes = (nested(LIST_ELEM, number(_FIELD_SIZE, one.size)) for one in shape.key)
        fields = nested(SET_DESC, nested(_DESC_CONCAT, *sizes))
    # Later messages of the batch refer to it by name; the number only has to be there.
    about = number(SET_ID, 1) + attr(_SET_USERDATA, _USERDATA_STRINGS if _is_text(shape) else b"")
    return number(SET_FLAGS, shape.flags) + key + verdicts + fields + about


def _is_text(shape: SetShape) -> bool:
    return shape.key == (KeyType.IFNAME,)
