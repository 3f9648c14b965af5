"""terway-cli monitor: what a person and a program read of what happens in the data path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terway.agent.readonly import Page, Streams, open_readonly
from terway.cli.app import cli
from terway.cli.monitor import PAGE
from terway.cli.place import place_of
from terway.cli.table import WIDTH
from terway.datapath.happening import LeftOut, Line, What, line_of
from terway.model.errors import UsageError
from tests.unit.agent.ebpf.test_watchers import DB, LOSS, OPEN, TIME

SERVED = replace(OPEN, what=What.CLOSE, frontend=replace(DB, port=443))
MANY = LeftOut(time=TIME, node="n1", count=7)
UNREAD = replace(LOSS, source=None, destination=None, protocol="", reason="malformed", meaning="")


class Telling:
    """A terwayd that tells some lines, and goes on."""

    def __init__(self, *lines: Line) -> None:
        self.asked = ""
        self._lines = lines

    def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        self.asked = query
        if "gone" in query:
            raise UsageError("pod gone is not on this node", field="pod")
        return self._told()

    async def _told(self) -> AsyncGenerator[bytes, None]:
        for line in self._lines:
            yield f"{line_of(line)}\n".encode()
        await asyncio.Event().wait()


@asynccontextmanager
async def terwayd(root: Path, streams: Streams) -> AsyncIterator[None]:
    (root / "var/run/eni").mkdir(parents=True)
    pages = {"/healthz": lambda: Page(body=b"{}")}
    listen = f"unix://{place_of({}, root=root).debug_socket}"
    async with open_readonly(listen, pages, streams):
        yield


async def monitor(root: Path, telling: Telling | None, *words: str) -> Result:
    streams = {PAGE: telling.stream} if telling is not None else {}
    async with terwayd(root, streams):
        command = ["monitor", "--root", str(root), *words]
        return await asyncio.to_thread(CliRunner().invoke, cli, command)


async def test_a_person_reads_what_happened_to_whom_and_why_in_80_columns(tmp_path):
    telling = Telling(LOSS, SERVED, UNREAD, MANY, OPEN)

    done = await monitor(tmp_path, telling, "--count", "4")

    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "07:00:00.000 LOST   TCP shop/web:40000 -> 10.0.0.2:5432: the sender's policies",
        "  do not allow it, at shop/web",
        "07:00:00.000 close  TCP 10.0.0.2:5432 -> shop/web:40000 (service 10.0.0.2:443)",
        "07:00:00.000 LOST   a packet of 60 bytes at shop/web: malformed",
        "07:00:00.000 n1: 7 were left out: too many at once",
        "07:00:00.000 open   TCP 10.0.0.2:5432 -> shop/web:40000",
        "2 lost packets, 1 connection opened; 7 left out",
    ]
    assert all(len(line) <= WIDTH for line in done.output.splitlines())


async def test_a_program_reads_a_line_of_json_for_each_record(tmp_path):
    done = await monitor(tmp_path, Telling(LOSS, MANY), "--json", "--for", "1s")

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [line_of(LOSS), line_of(MANY)]


async def test_terwayd_is_asked_for_what_the_options_say(tmp_path):
    telling = Telling(LOSS)

    await monitor(tmp_path, telling, "--drops", "--pod", "a/b", "--sample", "10", "--count", "1")

    assert telling.asked == "pod=a%2Fb&sample=10&most=2000&losses=1"


async def test_a_refusal_is_told_in_terwayds_words(tmp_path):
    done = await monitor(tmp_path, Telling(), "--pod", "gone")

    assert done.exit_code == 2
    assert "pod gone is not on this node" in done.output


async def test_a_node_without_a_data_path_in_ebpf_says_what_to_use_instead(tmp_path):
    done = await monitor(tmp_path, None)

    assert done.exit_code == 2
    assert "has no data path in eBPF" in done.output
    assert "terway-cli drops" in done.output


@pytest.mark.parametrize("words", [("--for", "soon"), ("--sample", "0"), ("--count", "-1")])
async def test_wrong_words_are_refused(tmp_path, words):
    done = await monitor(tmp_path, Telling(), *words)

    assert done.exit_code == 2
