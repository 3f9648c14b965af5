"""What is written for the kernel is read as what it was, whatever it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terway.linux.nfnetlink.elements import decode_element, encode_elements, gather
from terway.linux.nfnetlink.expressions import decode_rule, encode_rule
from terway.linux.nfnetlink.wire import items
from terway.model.nft import FLAG_CONCAT, FLAG_INTERVAL, FLAG_MAP, Element, KeyType, SetShape
from terway.model.nft_rule import (
    Bitwise,
    Cmp,
    CmpOp,
    Ct,
    CtKey,
    Decide,
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

_registers = st.sampled_from([1, 2, 9, 12])
_bytes = st.binary(min_size=1, max_size=16)
_names = st.text("abc0_-.", min_size=1, max_size=40).map(lambda name: f"x{name}")
_numbers = st.integers(min_value=1, max_value=(1 << 31) - 1)
_verdicts = st.one_of(
    st.sampled_from([VerdictKind.DROP, VerdictKind.ACCEPT, VerdictKind.RETURN]).map(Verdict),
    st.builds(Verdict, st.sampled_from([VerdictKind.JUMP, VerdictKind.GOTO]), _names),
)
_expressions = st.one_of(
    st.builds(Meta, st.sampled_from(MetaKey), _registers),
    st.builds(Ct, st.sampled_from(CtKey), _registers),
    st.builds(Payload, st.sampled_from(PayloadBase), _numbers, _numbers, _registers),
    st.builds(Bitwise, _bytes, _registers),
    st.builds(Cmp, st.sampled_from(CmpOp), _bytes, _registers),
    st.builds(Lookup, _names, _registers, st.booleans()),
    st.builds(Decide, _verdicts),
    st.just(Reject(RejectKind.TCP_RESET)),
    st.builds(Reject, st.just(RejectKind.ICMPX), st.integers(0, 3)),
    st.builds(Limit, _numbers, _numbers),
    st.builds(OneIn, _numbers, _registers),
    st.builds(Log, st.integers(0, 65535), _names, _numbers),
    st.builds(Foreign, st.sampled_from(["counter", "later"]), st.binary(max_size=8)),
)


@given(st.lists(_expressions, max_size=8).map(tuple))
def test_a_rule_is_read_as_it_was_written(rule):
    assert decode_rule(encode_rule(rule)) == rule


@given(st.lists(st.integers(min_value=0, max_value=(1 << 32) - 1), max_size=12, unique=True))
def test_intervals_of_a_tree_are_read_as_they_were_written(numbers):
    """Also those that touch, and one that ends with the family's last address."""
    shape = SetShape(key=(KeyType.IPV4,), flags=FLAG_MAP | FLAG_INTERVAL)
    cuts = sorted({*numbers, 1 << 32})
    ends = zip(cuts, (after - 1 for after in cuts[1:]), strict=False)
    elements = frozenset(
        Element(first.to_bytes(4), last.to_bytes(4), Verdict(VerdictKind.GOTO, f"c{first}"))
        for place, (first, last) in enumerate(ends)
        if place % 3 != 1
    )

    assert _through(shape, elements) == elements


@given(st.sets(st.integers(min_value=0, max_value=65535), max_size=12))
def test_fields_with_intervals_are_read_as_they_were_written(ports):
    shape = SetShape(key=(KeyType.PROTOCOL, KeyType.PORT), flags=FLAG_CONCAT | FLAG_INTERVAL)
    elements = frozenset(
        Element(b"\x06\0\0\0" + port.to_bytes(2) + b"\0\0", b"\x11\0\0\0\xff\xff\0\0")
        for port in ports
    )

    assert _through(shape, elements) == elements


@given(st.integers(min_value=0, max_value=5000))
def test_however_many_elements_there_are_each_message_has_room(count):
    shape = SetShape(key=(KeyType.IPV6,), flags=FLAG_MAP)
    verdict = Verdict(VerdictKind.GOTO, "some_chain_with_a_long_name")
    elements = frozenset(Element(number.to_bytes(16), None, verdict) for number in range(count))

    parts = list(encode_elements(shape, elements))

    assert all(len(part) < 1 << 16 for part in parts)
    assert _through(shape, elements) == elements


def _through(shape: SetShape, elements: frozenset[Element]) -> frozenset[Element]:
    parts = encode_elements(shape, sorted(elements, key=lambda one: one.key))
    return gather(shape, (decode_element(item) for part in parts for item in items(part)))
