"""What the plugin does alone, and how terwayd catches up (bug class 19)."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from terway.agent.moments import read_moment
from terway.agent.spool import Spool
from terway.cni.protocol import MAX_FRAME_BYTES
from terway.cni.version import SUPPORTED
from tests.support.cni import conf_of, valid


@pytest.mark.parametrize("verb", ["ADD", "CHECK"])
async def test_ADD_and_CHECK_say_try_again_later(node, verb):
    ran = await node.run(verb, conf_of("0.4.0"))

    assert ran.exit_code == 1
    assert (ran.json["code"], ran.json["cniVersion"]) == (11, "0.4.0")
    assert ran.json["msg"] == "terwayd cannot be reached"


@pytest.mark.parametrize("version", ["0.4.0", "1.1.0"])
async def test_X11_VERSION_is_answered(node, version):
    ran = await node.run("VERSION", {"cniVersion": version})

    assert ran.json == {"cniVersion": version, "supportedVersions": list(SUPPORTED)}


@pytest.mark.parametrize(
    "stdin", [b"", b"nonsense", b'{"cniVersion":', b'{"cniVersion":"', b'{"cniVersion":"\\"}"}']
)
async def test_X11_VERSION_is_answered_whatever_stdin_holds(node, stdin):
    assert (await node.run("VERSION", stdin)).json["cniVersion"] == "1.1.0"


async def test_D4_DEL_succeeds_and_terwayd_does_it_at_its_next_start(node):
    async with node.terwayd():
        await node.run("ADD")
        await node.run("ADD", CNI_CONTAINERID="c2")
    ran = await node.run("DEL", CNI_NETNS=None)
    assert (ran.exit_code, ran.stdout) == (0, b"")

    async with node.terwayd():
        assert [str(one.key) for one in node.pool.attachments()] == ["c2/eth0"]
    assert node.notes() == []


async def test_D4_what_the_clock_was_set_to_does_not_matter_to_a_note(node, monkeypatch):
    # given an attachment that was made while the clock was an hour ahead
    ahead = time.time() + 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: ahead)
        async with node.terwayd():
            await node.run("ADD")

    before = read_moment()
    await node.run("DEL")

    (note,) = Spool(node.spool).read(now=before)
    assert note.asked_at.boot_id == before.boot_id
    assert before.seconds <= note.asked_at.seconds <= read_moment().seconds
    async with node.terwayd():
        assert node.pool.attachments() == ()


async def test_a_DEL_that_names_no_attachment_fails_and_leaves_no_note(node):
    ran = await node.run("DEL", CNI_CONTAINERID=None)

    assert ran.exit_code == 1
    assert not node.spool.exists()


async def test_G1_GC_is_noted_and_its_list_holds_for_what_was_there_then(node):
    async with node.terwayd():
        await node.run("ADD", CNI_CONTAINERID="stale")
        await node.run("ADD", CNI_CONTAINERID="alive")
    assert (await node.run("GC", conf_of(**valid("alive")))).exit_code == 0

    async with node.terwayd():
        assert [str(one.key) for one in node.pool.attachments()] == ["alive/eth0"]


async def test_a_note_is_readable_by_root_only(node):
    await node.run("DEL")

    (note,) = node.notes()
    assert note.stat().st_mode & 0o777 == 0o600
    assert list(node.spool.iterdir()) == [note]


async def test_where_no_note_can_be_left_DEL_fails(node):
    node.spool.write_text("a file where the folder should be")

    assert (await node.run("DEL")).json["code"] == 11


async def test_a_note_that_is_none_is_dropped(node):
    node.spool.mkdir()
    (node.spool / "0000000001.000000000-1").write_bytes(b"what is this")
    (node.spool / "README").write_bytes(b"CNI_COMMAND=ADD\0\0{}")

    async with node.terwayd():
        pass

    assert node.notes() == []


async def test_a_folder_among_the_notes_hides_no_note_and_ends_no_terwayd(node):
    async with node.terwayd():
        await node.run("ADD")
    await node.run("DEL")
    (node.spool / "0000000000-folder").mkdir()

    async with node.terwayd() as answerer:
        assert node.pool.attachments() == ()
        await answerer.work_off()
        assert (await node.run("ADD")).exit_code == 0


async def test_a_spool_folder_that_is_gone_ends_no_terwayd(node, terwayd):
    node.spool.rmdir()

    await terwayd.work_off()

    assert (await node.run("ADD")).exit_code == 0


async def test_a_terwayd_that_starts_within_a_second_is_waited_for(node):
    # The plugin starts first; whether it asks before or after the socket is there, it is served.
    async with asyncio.TaskGroup() as tasks:
        adding = tasks.create_task(node.run("ADD"))
        await asyncio.sleep(0)
        async with node.terwayd():
            await asyncio.wait((adding,))

    assert adding.result().exit_code == 0


def listening(path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)
    return listener


async def serve_once(listener, path, reply: bytes) -> None:
    """Accept one connection, read a little, answer `reply`, hang up."""
    loop = asyncio.get_running_loop()
    with listener:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            await loop.sock_recv(connection, 65536)
            await loop.sock_sendall(connection, reply)
    path.unlink()


@pytest.mark.parametrize(
    "reply", [b"", b"\0\0", struct.pack("!IB", 100, 0) + b"cut short", struct.pack("!I", 0)]
)
async def test_an_answer_that_is_cut_short_is_none(node, reply):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_once(listening(node.socket), node.socket, reply))
        adding = tasks.create_task(node.run("ADD"))

    assert adding.result().json["code"] == 11


async def test_a_list_of_100_000_attachments_arrives(node):
    conf = conf_of(**valid(*(f"{number:064x}" for number in range(100_000))))
    async with node.terwayd():
        await node.run("ADD")
        assert (await node.run("GC", conf)).exit_code == 0

    assert node.pool.attachments() == ()


async def test_stdin_without_end_is_refused_with_5(node):
    ran = await node.run("ADD", b" " * (MAX_FRAME_BYTES + 1))

    assert ran.json["code"] == 5


async def test_terwayd_refuses_a_frame_that_is_too_long(node, terwayd):
    reader, writer = await asyncio.open_unix_connection(node.socket)
    writer.write(struct.pack("!I", MAX_FRAME_BYTES + 1))

    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert b'"code":5' in answer
