"""The socket: how it stops, and what it makes of visitors that are no plugin."""

from __future__ import annotations

import asyncio
import struct

from terway.agent.server import open_server
from terway.cni.protocol import Reply, Request, encode_request

HELLO = encode_request(Request(env={"CNI_COMMAND": "VERSION"}, stdin=b"{}"))


def frame(body):
    return struct.pack("!I", len(body)) + body


class Slow:
    """An answer that waits to be let go."""

    def __init__(self):
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def answer(self, request):
        self.begun.set()
        await self.go.wait()
        return Reply(exit_code=0, body=request.env["CNI_COMMAND"].encode())


async def ask(path, *pieces):
    reader, writer = await asyncio.open_unix_connection(path)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_request_may_come_in_pieces(tmp_path):
    slow = Slow()
    slow.go.set()
    whole = frame(HELLO)
    async with open_server(tmp_path / "s", slow.answer):
        pieces = [whole[index : index + 1] for index in range(len(whole))]

        assert await ask(tmp_path / "s", *pieces) == b"\0\0\0\x08\0VERSION"


async def test_what_is_being_answered_is_finished_before_it_stops(tmp_path):
    slow = Slow()
    async with asyncio.TaskGroup() as tasks, open_server(tmp_path / "s", slow.answer):
        asking = tasks.create_task(ask(tmp_path / "s", frame(HELLO)))
        await slow.begun.wait()
        asyncio.get_running_loop().call_soon(slow.go.set)

    assert asking.result() == b"\0\0\0\x08\0VERSION"
    assert not (tmp_path / "s").exists()


async def test_what_does_not_finish_in_time_is_cut_off(tmp_path):
    slow = Slow()
    async with open_server(tmp_path / "s", slow.answer, grace_s=0.01):
        asking = asyncio.ensure_future(ask(tmp_path / "s", frame(HELLO)))
        await slow.begun.wait()

    assert await asking == b""


async def test_a_visitor_that_leaves_early_harms_nobody(tmp_path):
    slow = Slow()
    slow.go.set()
    async with open_server(tmp_path / "s", slow.answer):
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(frame(HELLO)[:7])
        writer.close()
        await writer.wait_closed()

        assert (await ask(tmp_path / "s", frame(HELLO)))[4] == 0


async def test_the_socket_of_a_dead_predecessor_is_replaced(tmp_path):
    (tmp_path / "s").write_text("stale")
    slow = Slow()
    slow.go.set()

    async with open_server(tmp_path / "s", slow.answer):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        assert (await ask(tmp_path / "s", frame(HELLO)))[4] == 0
