"""How a watch's bytes become events, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terway.kube.errors import is_expired
from terway.kube.informer import Change, Changes
from terway.kube.resource import CONFIG_MAPS, ObjectKey
from terway.kube.watch import Bookmark, EventType, WatchEvent, decode_event, split_lines
from terway.model.errors import ConflictError, TransientError

LINES = st.lists(st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b"\n", b"x")))


@given(LINES, st.lists(st.integers(0, 60)))
def test_lines_are_the_same_wherever_the_stream_is_cut(lines, cuts):
    stream = b"".join(line + b"\n" for line in lines)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    buffer = bytearray()

    found: list[bytes] = []
    for start, end in pairwise(edges):
        found += split_lines(buffer, stream[start:end])

    assert found == lines
    assert not buffer


def test_an_event_is_read_with_the_fields_declared():
    line = b'{"type":"ADDED","object":{"metadata":{"name":"a"},"data":{"k":"v"},"other":[1]}}'

    event = decode_event(line, CONFIG_MAPS, tried="watch")

    assert isinstance(event, WatchEvent)
    assert (event.type, event.object.data) == (EventType.ADDED, {"k": "v"})


def test_a_bookmark_is_no_object():
    line = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}'

    assert decode_event(line, CONFIG_MAPS, tried="watch") == Bookmark(resource_version="7")


def test_an_error_event_is_raised():
    line = b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}'

    with pytest.raises(ConflictError) as caught:
        decode_event(line, CONFIG_MAPS, tried="watch")

    assert is_expired(caught.value)


@pytest.mark.parametrize("line", [b"not json", b'{"type":"MOVED","object":{}}'])
def test_what_cannot_be_read_is_a_failure_of_the_other_side(line):
    with pytest.raises(TransientError):
        decode_event(line, CONFIG_MAPS, tried="watch")


KEY = ObjectKey(namespace="ns", name="a")


async def test_changes_of_one_object_are_folded_until_somebody_looks():
    changes: Changes[str] = Changes()
    for old, new in ((None, "1"), ("1", "2"), ("2", "3")):
        changes.put(Change(key=KEY, old=old, new=new))

    assert await anext(changes) == Change(key=KEY, old=None, new="3")


async def test_what_came_and_went_unseen_was_never_there():
    changes: Changes[str] = Changes()
    changes.put(Change(key=KEY, old=None, new="1"))
    changes.put(Change(key=KEY, old="1", new=None))
    other = Change(key=ObjectKey(namespace="ns", name="b"), old=None, new="x")
    changes.put(other)

    assert await anext(changes) == other
