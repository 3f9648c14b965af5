"""The frame between plugin and terwayd, and what a damaged one becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terway.cni.protocol import (
    MAX_FRAME_BYTES,
    Reply,
    Request,
    body_length,
    encode_reply,
    encode_request,
    parse_request,
)
from terway.model.errors import UsageError

names = st.from_regex(r"CNI_[A-Z]{1,8}", fullmatch=True)
values = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(env=st.dictionaries(names, values, min_size=1), stdin=st.binary())
def test_a_request_survives_the_wire(env, stdin):
    request = Request(env=env, stdin=stdin)

    assert parse_request(encode_request(request)) == request


def test_a_request_without_environment_is_one():
    request = Request(env={}, stdin=b"\0{}")

    assert parse_request(encode_request(request)) == request


def test_bytes_that_are_no_utf8_come_back_as_they_were():
    body = b"CNI_ARGS=\xff\xfe\0\0{}"

    assert encode_request(parse_request(body)) == body


@pytest.mark.parametrize("body", [b"", b"CNI_COMMAND=ADD", b"CNI_COMMAND=ADD\0"])
def test_an_environment_without_end_is_refused(body):
    with pytest.raises(UsageError, match="has no end"):
        parse_request(body)


def test_a_frame_may_have_the_greatest_length_and_no_more():
    assert body_length(MAX_FRAME_BYTES.to_bytes(4, "big")) == MAX_FRAME_BYTES
    with pytest.raises(UsageError, match=str(MAX_FRAME_BYTES)):
        body_length((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_a_reply_is_its_length_its_code_and_its_text():
    assert encode_reply(Reply(exit_code=1, body=b"no")) == b"\0\0\0\3\1no"
