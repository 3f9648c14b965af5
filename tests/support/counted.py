"""A stream of datagrams of which each is counted, as fast as they go there and back.

So many are under way at once as no queue drops; each answer lets the next one go. What does not
come back is counted as lost, and the stream goes on without it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_NUMBER = struct.Struct("=Q")
_UNDER_WAY = 16
_LOST_S = 10.0  # and not only late, because a thread waits for a core
_IDLE_S = 0.2


@dataclass
class Counted:
    """`sent` and `lost` so far. `reached` waits for a number of datagrams to have come back."""

    sent: int = 0
    came_back: int = 0
    lost: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def reached(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.came_back >= count, timeout=120)


@contextmanager
def counted(
    client: socket.socket, server: socket.socket, target: tuple[str, int]
) -> Iterator[Counted]:
    """Keep datagrams going between two sockets for the block."""
    flow = Counted()
    client.settimeout(_LOST_S)
    server.settimeout(_IDLE_S)
    nobody_asks = threading.Event()
    asks = threading.Thread(target=_ask, args=(flow, client, target))
    answers = threading.Thread(target=_answer, args=(server, nobody_asks))
    for worker in (asks, answers):
        worker.start()
    try:
        yield flow
    finally:
        flow.ended.set()
        asks.join()  # first: what is under way is still answered
        nobody_asks.set()
        answers.join()


def _answer(server: socket.socket, nobody_asks: threading.Event) -> None:
    while not nobody_asks.is_set():
        try:
            data, peer = server.recvfrom(64)
        except TimeoutError:
            continue
        server.sendto(data, peer)


def _ask(flow: Counted, client: socket.socket, target: tuple[str, int]) -> None:
    while not flow.ended.is_set():
        expected = {flow.sent + number for number in range(_UNDER_WAY)}
        for number in sorted(expected):
            client.sendto(_NUMBER.pack(number), target)
        flow.sent += _UNDER_WAY
        missing = _collect(client, expected)
        with flow.changed:
            flow.came_back += _UNDER_WAY - missing
            flow.lost += missing
            flow.changed.notify_all()


def _collect(client: socket.socket, expected: set[int]) -> int:
    while expected:
        try:
            expected.discard(_NUMBER.unpack(client.recv(64))[0])
        except TimeoutError:
            break
    return len(expected)
