"""The flow log of this node: when do rules and programs tell, and who gets what they told?

    followers ─┐               rules log ─► taps ─┬─► recorder ─┬─► followers
    eni-config ┴─► wish ─┬─► logs open, then      │   (names,   ├─► the last thousand
                         │   rules log            │   reasons,  └─► files, if configured
                         └─► programs ─► ring ────┘   folded a second)

Nobody wishes anything: no rule logs, no program tells, no socket is open. Level-triggered: each
look compares what is wished with what is, so a refusal is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from terway.agent.flows.flood import Floods
from terway.agent.flows.followers import Follower, Wish
from terway.agent.flows.keep import KeptFlows
from terway.agent.flows.recorder import Knowledge, Recorder
from terway.agent.flows.ring import Programs, Ring
from terway.agent.flows.seen import Seen, Spot, seen_by_table
from terway.agent.flows.taps import OpenTap, Tap, Taps
from terway.linux.nflog import Taken
from terway.model.errors import VpcError
from terway.model.ids import NodeName
from terway.policy.records.flow_filter import FlowFilter
from terway.policy.records.recorded import Line, RecordedFlow, line_of

LOOK_S = 1.0  # while something is logged: pods with a namespace to be read come and go
_LAST = 1000
MORE = "the limit of a second was reached: there were more than are told; filter, or sample"

_log = structlog.get_logger("flows")


class LogRules(Protocol):
    """What makes the rules of all tables log, or not."""

    async def set_logging(self, wish: Wish | None) -> None:
        """Have the rules log what is wished; None: nothing. Tables made later do so, too.

        Raises VpcError where a table could not be changed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the flow log stands on.

    `places` are the namespaces whose rules tell, the node's is empty; `programs` those of a data
    path in eBPF, which tell of what no rule sees. None: there are no such programs.
    """

    knowledge: Knowledge
    rules: LogRules
    open_tap: OpenTap
    places: Callable[[], Iterable[str]]
    kept: KeptFlows
    programs: Programs | None = None
    now: Callable[[], float] = time.monotonic
    wall_ns: Callable[[], int] = time.time_ns


class FlowLog:
    """The flow log. `run` does the work; the rest may be called whenever."""

    def __init__(self, node: NodeName, outside: Outside) -> None:
        self._outside = outside
        self._recorder = Recorder(node, outside.knowledge, now=outside.now)
        self._taps = Taps(outside.open_tap, self._took)
        self._ring: Ring | None = None
        if outside.programs is not None:
            self._ring = Ring(outside.programs, took=self._heard, changed=self.look)
        self._floods = Floods()
        self._followers: list[Follower] = []
        self._always: Wish | None = None
        self._in_force: Wish | None = None
        self._trouble = ""
        self._last: deque[RecordedFlow] = deque(maxlen=_LAST)
        self._changed = asyncio.Event()

    @property
    def in_force(self) -> Wish | None:
        """Return what the rules log now; programs do as soon as their room has them do so."""
        return self._in_force

    def configure(self, always: Wish | None) -> None:
        """Record this whether or not anybody follows, and keep it in files; None: do not."""
        self._always = always
        self._changed.set()

    def look(self) -> None:
        """Have what is wished compared with what is now, not at the next second."""
        self._changed.set()

    def last(self, wanted: FlowFilter, most: int) -> list[RecordedFlow]:
        """Return the newest records that are wanted, the oldest of them first."""
        found = [one for one in self._last if wanted.matches(one)]
        return found[-most:] if most else []

    @contextmanager
    def follow(self, wanted: FlowFilter, wish: Wish) -> Iterator[Follower]:
        """Follow for the block."""
        follower = Follower(wanted, wish)
        self._followers.append(follower)
        self._changed.set()
        try:
            yield follower
        finally:
            self._followers.remove(follower)
            self._changed.set()

    async def run(self) -> None:
        """Log as wished until cancelled.

        Rules that log then go on, to nobody, which costs nothing; the next terwayd makes them anew.
        """
        try:
            while True:
                self._changed.clear()
                await self._fit()
                self._tell(self._recorder.complete())
                await self._wait()
        finally:
            self._taps.close()
            if self._ring is not None:
                self._ring.close()

    def _wish(self) -> Wish | None:
        wishes = [one.wish for one in self._followers]
        wishes += [self._always] if self._always else []
        met: Wish | None = None
        for one in wishes:
            met = one if met is None else met | one
        return met

    async def _fit(self) -> None:
        wish = self._wish()
        if self._ring is not None:
            self._ring.fit(wish)
        if wish is None:
            await self._set_rules(None)
            await self._taps.fit(())
            return
        # Readers before writers: the first packet that is logged is read.
        await self._taps.fit(tuple(self._outside.places()))
        await self._set_rules(wish)
        self._begin()
        self._complain()

    async def _set_rules(self, wish: Wish | None) -> None:
        if wish == self._in_force:
            return
        try:
            await self._outside.rules.set_logging(wish)
        except VpcError as error:
            _log.warning("flows.rules_refused", error=str(error))
            self._taps.refused["rules"] = str(error)
            return
        self._in_force = wish

    def _begin(self) -> None:
        """Tell new followers from when on they miss nothing, once it is so."""
        if self._in_force is None or (self._ring is not None and not self._ring.is_telling):
            return
        sample = self._in_force.sample
        allowed = "nothing" if not sample else "all" if sample == 1 else f"1 in {sample}"
        text = f"from here on: all that is denied, and of what is allowed {allowed}"
        line = self._remark(text=text)
        for follower in self._followers:
            if not follower.has_begun and follower.wish | self._in_force == self._in_force:
                follower.has_begun = True
                follower.tell(line)

    def _complain(self) -> None:
        """Tell followers, once, why they see nothing of a namespace."""
        of_ring = (self._ring.trouble,) if self._ring is not None else ()
        trouble = "; ".join(filter(None, (*self._taps.refused.values(), *of_ring)))
        if trouble and trouble != self._trouble:
            self._tell((self._remark(text=trouble),))
        self._trouble = trouble

    async def _wait(self) -> None:
        """Wait until something is wished otherwise, a record is complete, or it is time to look."""
        if self._in_force is None and self._wish() is None:
            await self._changed.wait()
            return
        now = self._outside.now()
        next_at = self._recorder.next_at
        wait_s = LOOK_S if next_at is None else min(LOOK_S, max(0.0, next_at - now))
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _took(self, netns: str, tap: Tap, taken: Taken) -> None:
        sample = self._in_force.sample if self._in_force else 0
        spot = Spot(link_name=tap.link_name, netns=netns, sample=max(sample, 1))
        seen = (seen_by_table(packet, spot) for packet in taken.packets)
        self._tell(self._recorder.take(one for one in seen if one is not None))
        if taken.lost:
            self._tell((self._remark(lost=taken.lost),))
        rules = ((netns, packet.prefix) for packet in taken.packets)
        if self._floods.count(rules, now=self._outside.now()):
            self._tell((self._remark(text=MORE),))

    def _heard(self, seen: Seen | None, left_out: int) -> None:
        if seen is not None:
            self._tell(self._recorder.take((seen,)))
        if left_out:
            self._tell((self._remark(lost=left_out),))

    def _remark(self, *, lost: int = 0, text: str = "") -> Line:
        return self._recorder.remark(self._outside.wall_ns(), lost=lost, text=text)

    def _tell(self, lines: Iterable[Line]) -> None:
        told = tuple(lines)
        for line in told:
            if isinstance(line, RecordedFlow):
                self._last.append(line)
            for follower in self._followers:
                follower.tell(line)
        if self._always is not None:
            self._outside.kept.write("".join(f"{line_of(line)}\n" for line in told))
