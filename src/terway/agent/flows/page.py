"""How is the flow log read: one line of JSON a record, over the socket of the pages.

    GET /debug/flows?verdict=denied&to=db&last=20&follow=1&sample=10

`last` records of those that are known, then, with `follow`, those to come until the reader leaves.
The other words are those of `policy.records.flow_filter`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from urllib.parse import parse_qsl

from terway.agent.flows.followers import Wish
from terway.agent.flows.service import FlowLog
from terway.model.errors import UsageError
from terway.policy.records.flow_filter import FlowFilter, filter_of
from terway.policy.records.recorded import Line, line_of

PATH = "/debug/flows"
MOST_FOLLOWERS = 16


class FlowPage:
    """The page."""

    def __init__(self, log: FlowLog) -> None:
        self._log = log
        self._reading = 0

    def stream(self, query: str) -> AsyncGenerator[bytes, None]:
        """Return the lines that a query asks for. Raises UsageError for what cannot be."""
        words = dict(parse_qsl(query))
        wanted = filter_of(words)
        last, sample = _number(words, "last"), _number(words, "sample") or 1
        if not words.get("follow"):
            return self._known(wanted, last)
        if self._reading >= MOST_FOLLOWERS:
            text = f"{MOST_FOLLOWERS} read the flow log already: end one of them"
            raise UsageError(text, field="follow")
        return self._following(wanted, last, Wish(sample=sample if wanted.wants_allowed else 0))

    async def _known(self, wanted: FlowFilter, last: int) -> AsyncGenerator[bytes, None]:
        for line in self._log.last(wanted, last):
            yield _bytes(line)

    async def _following(
        self, wanted: FlowFilter, last: int, wish: Wish
    ) -> AsyncGenerator[bytes, None]:
        self._reading += 1
        try:
            with self._log.follow(wanted, wish) as follower:
                async for line in self._known(wanted, last):
                    yield line
                async for new in follower.lines():
                    yield _bytes(new)
        finally:
            self._reading -= 1


def _bytes(line: Line) -> bytes:
    return f"{line_of(line)}\n".encode()


def _number(words: Mapping[str, str], name: str) -> int:
    value = words.get(name, "0")
    if not value.isdigit():
        raise UsageError(f"{name} {value!r}: must be a whole number", field=name)
    return int(value)
