"""What the socket makes of the kernel's answers, also of those a real kernel seldom gives."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

import pytest

from terway.linux.netlink.codec import (
    HEADER,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    Query,
    Request,
    message,
)
from terway.linux.netlink.socket import NetlinkSocket
from terway.model.errors import ConflictError, TransientError

VALUE = 24


class Script:
    """A kernel that answers each message it is sent by the next entry of a list.

    An entry is a list of (type, flags, body); the sequence number is the message's own.
    """

    def __init__(self, *answers: Iterable[tuple[int, int, bytes]]) -> None:
        self._answers = list(answers)
        self._ready: list[bytes] = []
        self.sent = 0

    def send(self, data: bytes) -> int:
        start = 0
        while start < len(data):
            length, _kind, _flags, sequence, _port = HEADER.unpack_from(data, start)
            for kind, flags, body in self._answers.pop(0):
                self._ready.append(message(kind, flags, sequence, body))
            start += length
            self.sent += 1
        return len(data)

    def recv(self, _limit: int) -> bytes:
        return self._ready.pop(0)

    def fileno(self) -> int:
        raise AssertionError("a script has no file")

    def close(self) -> None:
        self._ready.clear()


def value(number: int, flags: int = NLM_F_MULTI) -> tuple[int, int, bytes]:
    return (VALUE, flags, struct.pack("=I", number))


def status(kind: int, code: int = 0, flags: int = NLM_F_MULTI) -> tuple[int, int, bytes]:
    return (kind, flags, struct.pack("=i", -code))


DONE = status(NLMSG_DONE)
NUMBERS = Query(type=26, body=b"", decode=lambda body: struct.unpack("=I", body)[0], what="numbers")
ONE = Request(type=24, flags=0, body=b"", what="put one")
TWO = Request(type=24, flags=0, body=b"", what="put two", tolerated=frozenset({errno.EEXIST}))


def test_a_dump_is_read_to_its_end():
    sock = NetlinkSocket(Script([value(1), value(2), DONE]))

    assert sock.query(NUMBERS) == [1, 2]


@pytest.mark.parametrize("marked", [value(1, NLM_F_MULTI | NLM_F_DUMP_INTR), None])
def test_a_dump_that_was_interrupted_is_read_again(marked):
    """Bug class 38."""
    # the mark may be on a value, or on the end
    end = DONE if marked else status(NLMSG_DONE, flags=NLM_F_MULTI | NLM_F_DUMP_INTR)
    script = Script([marked or value(1), end], [value(1), value(2), DONE])

    assert NetlinkSocket(script).query(NUMBERS) == [1, 2]


def test_a_table_that_never_stands_still_is_worth_another_try_later():
    script = Script(*[[value(1, NLM_F_DUMP_INTR | NLM_F_MULTI), DONE]] * 10)

    with pytest.raises(TransientError, match="changed during each of 10 reads"):
        NetlinkSocket(script).query(NUMBERS)


@pytest.mark.parametrize("kind", [NLMSG_DONE, NLMSG_ERROR])
def test_a_dump_that_fails_is_an_error_and_not_an_empty_table(kind):
    with pytest.raises(TransientError, match="ENOBUFS"):
        NetlinkSocket(Script([value(1), status(kind, errno.ENOBUFS)])).query(NUMBERS)


def test_answers_to_an_abandoned_request_are_passed_over():
    script = Script([value(1), DONE])
    sock = NetlinkSocket(script)
    script._ready.append(message(*value(99)[:2], 4711, value(99)[2]))

    assert sock.query(NUMBERS) == [1]


def test_every_request_of_a_batch_is_sent_and_acknowledged():
    script = Script([status(NLMSG_ERROR)], [status(NLMSG_ERROR)])

    NetlinkSocket(script).send([ONE, TWO])

    assert script.sent == 2


def test_a_tolerated_refusal_is_success():
    NetlinkSocket(Script([status(NLMSG_ERROR, errno.EEXIST)])).request(TWO)


def test_the_first_failure_of_a_batch_is_raised():
    refused = [status(NLMSG_ERROR, errno.EEXIST)], [status(NLMSG_ERROR, errno.ENODEV)]

    with pytest.raises(ConflictError, match="put one") as caught:
        NetlinkSocket(Script(*refused)).send([ONE, TWO])

    assert caught.value.code == "EEXIST"
