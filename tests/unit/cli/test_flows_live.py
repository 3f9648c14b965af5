"""terway-cli flows reads what terwayd tells until its time is over, terwayd ends, or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from terway.agent.readonly import Page, Streams, open_readonly
from terway.cli.flows_source import PAGE, follow
from terway.cli.place import Place, place_of
from terway.model.errors import TransientError, UsageError
from terway.policy.records.recorded import Line, line_of
from tests.unit.policy.test_recorded import DENIED, LOST


def place_at(root: Path) -> Place:
    (root / "var/run/eni").mkdir(parents=True, exist_ok=True)
    return place_of({}, root=root)


@asynccontextmanager
async def terwayd(place: Place, streams: Streams) -> AsyncIterator[None]:
    pages = {"/healthz": lambda: Page(body=b"{}")}
    async with open_readonly(f"unix://{place.debug_socket}", pages, streams):
        yield


class Telling:
    """A terwayd that tells two lines, then goes on or ends."""

    def __init__(self, *, ends: bool) -> None:
        self.asked = ""
        self._ends = ends

    def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        self.asked = query
        if "maybe" in query:
            raise UsageError("verdict 'maybe': must be allowed or denied", field="verdict")
        return self._lines()

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        for line in (DENIED, LOST):
            yield f"{line_of(line)}\n".encode()
        if not self._ends:
            await asyncio.Event().wait()


def _all(place: Place, words: dict[str, str], seconds: float | None = None) -> list[Line]:
    return list(follow(place, words, seconds=seconds))


async def test_lines_are_read_until_terwayd_ends(tmp_path):
    place, telling = place_at(tmp_path), Telling(ends=True)
    async with terwayd(place, {PAGE: telling.stream}):
        found = await asyncio.to_thread(_all, place, {"to": "10.0.0.0/8", "follow": "1"})
    assert found == [DENIED, LOST]
    assert telling.asked == "to=10.0.0.0%2F8&follow=1"


async def test_lines_are_read_until_the_time_is_over(tmp_path):
    place = place_at(tmp_path)
    async with terwayd(place, {PAGE: Telling(ends=False).stream}):
        assert await asyncio.to_thread(_all, place, {}, 1.0) == [DENIED, LOST]


async def test_a_refusal_is_told_in_terwayds_words(tmp_path):
    place = place_at(tmp_path)
    async with terwayd(place, {PAGE: Telling(ends=True).stream}):
        with pytest.raises(UsageError, match="must be allowed or denied"):
            await asyncio.to_thread(_all, place, {"verdict": "maybe"})


async def test_a_terwayd_without_policies_is_told_apart_from_one_that_is_down(tmp_path):
    place = place_at(tmp_path)
    async with terwayd(place, {}):
        with pytest.raises(UsageError, match="keeps no flow log"):
            await asyncio.to_thread(_all, place, {})
    with pytest.raises(TransientError, match="does not answer"):
        await asyncio.to_thread(_all, place, {})
