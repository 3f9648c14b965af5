"""Whatever comes from a socket, the codec returns; what it packs, it finds again."""

from hypothesis import given
from hypothesis import strategies as st

from terway.linux.netlink.codec import attr, attributes, message, messages

kinds = st.integers(min_value=0, max_value=0x3FFF)


@given(st.binary(max_size=200))
def test_any_bytes_can_be_walked(data):
    attributes(data)
    list(messages(data))


@given(st.dictionaries(kinds, st.binary(max_size=40), max_size=8))
def test_attributes_are_read_back_as_they_were_packed(wanted):
    data = b"".join(attr(kind, payload) for kind, payload in wanted.items())

    assert attributes(data) == wanted


@given(st.lists(st.binary(max_size=12), max_size=8), st.lists(st.binary(min_size=1, max_size=2)))
def test_needles_lose_no_message_that_has_them(bodies, needles):
    packed = (message(16, 0, number, body) for number, body in enumerate(bodies))
    data = b"".join(one + b"\0" * (-len(one) % 4) for one in packed)

    found = {sequence for _kind, _flags, sequence, _body in messages(data, needles)}

    having = {
        number
        for number, body in enumerate(bodies)
        if not needles or any(needle in body for needle in needles)
    }
    # a needle may also be in a header, or across two messages: more may come, never less
    assert having <= found


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_messages_are_read_back_as_they_were_packed(bodies):
    # the kernel pads each message to four bytes
    packed = (message(16, 0, number, body) for number, body in enumerate(bodies))
    data = b"".join(one + b"\0" * (-len(one) % 4) for one in packed)

    assert [body for *_, body in messages(data)] == bodies
