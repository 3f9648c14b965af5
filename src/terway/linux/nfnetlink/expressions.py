"""A rule's expressions as netlink attributes, and back.

What the kernel shows with anything that ours never have (a set looked up inverted, a limit on
bytes) is read as Foreign: it must not be taken for what it resembles.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import assert_never

from terway.linux.netlink.codec import Attributes, attr, attributes, nested, text
from terway.linux.nfnetlink.wire import (
    DATA_VERDICT,
    LIST_ELEM,
    data,
    items,
    long_number,
    number,
    read_data,
    read_number,
    read_signed,
    word,
)
from terway.model.nft_rule import (
    Bitwise,
    Cmp,
    CmpOp,
    Ct,
    CtKey,
    Decide,
    Expression,
    Foreign,
    Limit,
    Log,
    Lookup,
    Meta,
    MetaKey,
    OneIn,
    Payload,
    PayloadBase,
    Reject,
    RejectKind,
    Verdict,
    VerdictKind,
)

_NAME, _DATA = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_VERDICT_REGISTER = 0
_RANDOM = 1  # NFT_NG_RANDOM
_SECOND = 1


def encode_verdict(verdict: Verdict) -> bytes:
    """Return the content of a verdict: an attribute inside NFTA_*_DATA."""
    code = number(_VERDICT_CODE, verdict.kind.value)
    chain = word(_VERDICT_CHAIN, verdict.chain) if verdict.chain else b""
    return nested(DATA_VERDICT, code, chain)


def decode_verdict(payload: bytes) -> Verdict | None:
    """Return the verdict that NFTA_*_DATA holds, None for a kind that we never make."""
    found = attributes(attributes(payload).get(DATA_VERDICT, b""))
    if _VERDICT_CODE not in found:
        return None
    try:
        kind = VerdictKind(read_signed(found[_VERDICT_CODE]))
    except ValueError:
        return None
    return Verdict(kind, text(found.get(_VERDICT_CHAIN, b"")))


def encode_rule(rule: tuple[Expression, ...]) -> bytes:
    """Return the list of a rule's expressions."""
    return b"".join(_encode(one) for one in rule)


def decode_rule(payload: bytes) -> tuple[Expression, ...]:
    """Return a rule's expressions."""
    return tuple(_decode(one) for one in items(payload))


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(LIST_ELEM, word(_NAME, name), nested(_DATA, *parts))


def _encode(one: Expression) -> bytes:
    match one:
        case Meta() | Ct() | Payload():
            return _encode_load(one)
        case Bitwise() | Cmp() | Lookup():
            return _encode_test(one)
        case Decide():
            decision = nested(2, encode_verdict(one.verdict))
            return _expression("immediate", number(1, _VERDICT_REGISTER), decision)
        case _:
            return _encode_effect(one)


def _encode_load(one: Meta | Ct | Payload) -> bytes:
    into = number(1, one.register)
    match one:
        case Meta():
            return _expression("meta", into, number(2, one.key.value))
        case Ct():
            return _expression("ct", into, number(2, one.key.value))
        case Payload():
            place = number(2, one.base.value) + number(3, one.offset) + number(4, one.length)
            return _expression("payload", into, place)


def _encode_test(one: Bitwise | Cmp | Lookup) -> bytes:
    match one:
        case Bitwise():
            return _encode_bitwise(one)
        case Cmp():
            operands = number(1, one.register) + number(2, one.op.value)
            return _expression("cmp", operands, data(3, one.value))
        case Lookup():
            into = number(3, _VERDICT_REGISTER) if one.is_verdict else b""
            return _expression("lookup", word(1, one.set), number(2, one.register), into)


def _encode_bitwise(one: Bitwise) -> bytes:
    registers = number(1, one.register) + number(2, one.register) + number(3, len(one.mask))
    return _expression("bitwise", registers, data(4, one.mask), data(5, bytes(len(one.mask))))


def _encode_effect(one: Reject | Limit | OneIn | Log | Foreign) -> bytes:
    match one:
        case Reject():
            code = attr(2, bytes((one.code,))) if one.kind is RejectKind.ICMPX else b""
            return _expression("reject", number(1, one.kind.value), code)
        case Limit():
            rate = long_number(1, one.rate_per_s) + long_number(2, _SECOND)
            return _expression("limit", rate, number(3, one.burst), number(4, 0))
        case OneIn():
            kind = number(3, _RANDOM) + number(4, 0)
            return _expression("numgen", number(1, one.register), number(2, one.modulus), kind)
        case Log():
            group = attr(1, struct.pack(">H", one.group))
            return _expression("log", group, word(2, one.prefix), number(3, one.snaplen_bytes))
        case Foreign():
            return nested(LIST_ELEM, word(_NAME, one.name), nested(_DATA, one.raw))
        case _:
            assert_never(one)


def _decode(payload: bytes) -> Expression:
    found = attributes(payload)
    name, raw = text(found.get(_NAME, b"")), found.get(_DATA, b"")
    decode = _DECODERS.get(name)
    try:
        known = decode(attributes(raw)) if decode else None
    except (KeyError, ValueError, struct.error):
        known = None
    return known or Foreign(name, raw)


def _u32(found: Attributes, kind: int) -> int:
    value = read_number(found[kind])
    if value is None:
        raise KeyError(kind)
    return value


def _meta(found: Attributes) -> Expression:
    return Meta(MetaKey(_u32(found, 2)), _u32(found, 1))


def _ct(found: Attributes) -> Expression | None:
    return None if 3 in found else Ct(CtKey(_u32(found, 2)), _u32(found, 1))


def _payload(found: Attributes) -> Expression:
    base = PayloadBase(_u32(found, 2))
    return Payload(base, _u32(found, 3), _u32(found, 4), _u32(found, 1))


def _bitwise(found: Attributes) -> Expression | None:
    is_mask = read_number(found.get(6)) in (None, 0) and not any(read_data(found.get(5)))
    if not is_mask or _u32(found, 1) != _u32(found, 2):
        return None
    return Bitwise(read_data(found[4]), _u32(found, 1))


def _cmp(found: Attributes) -> Expression:
    return Cmp(CmpOp(_u32(found, 2)), read_data(found[3]), _u32(found, 1))


def _lookup(found: Attributes) -> Expression | None:
    into = read_number(found.get(3))
    if into not in (None, _VERDICT_REGISTER) or read_number(found.get(5)):
        return None
    return Lookup(text(found[1]), _u32(found, 2), into is not None)


def _immediate(found: Attributes) -> Expression | None:
    verdict = decode_verdict(found[2]) if _u32(found, 1) == _VERDICT_REGISTER else None
    return None if verdict is None else Decide(verdict)


def _reject(found: Attributes) -> Expression:
    return Reject(RejectKind(_u32(found, 1)), found[2][0] if 2 in found else 0)


def _limit(found: Attributes) -> Expression | None:
    unit = int.from_bytes(found[2], "big")
    if unit != _SECOND or read_number(found.get(4)) or read_number(found.get(5)):
        return None
    return Limit(int.from_bytes(found[1], "big"), _u32(found, 3))


def _numgen(found: Attributes) -> Expression | None:
    is_ours = _u32(found, 3) == _RANDOM and not read_number(found.get(4))
    return OneIn(_u32(found, 2), _u32(found, 1)) if is_ours else None


def _log(found: Attributes) -> Expression:
    return Log(int.from_bytes(found[1], "big"), text(found.get(2, b"")), _u32(found, 3))


_DECODERS: dict[str, Callable[[Attributes], Expression | None]] = {
    "meta": _meta,
    "ct": _ct,
    "payload": _payload,
    "bitwise": _bitwise,
    "cmp": _cmp,
    "lookup": _lookup,
    "immediate": _immediate,
    "reject": _reject,
    "limit": _limit,
    "numgen": _numgen,
    "log": _log,
}
