"""Is what the kernel has what the policies say? Read back, understood anew and compared.

after each change of structure, once it is quiet ──┐
when somebody else has changed nftables ───────────┼─► read ─► lift ─► compare ──differs──► anew
now and then ──────────────────────────────────────┘                     └─► metric, event
our table, told by the kernel; a pod's nftables ─────► the same at once, of that place alone

Reading takes a turn of the engine, in which nothing else is put in force: so it waits for quiet.
Comparing takes none, and never more than a share of a CPU. What somebody did to a table of ours is
another matter: until it is mended it may let everything through, so it is mended at once, however
often it is done again; only what is said of it becomes rare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from terway.agent.policy.enforcer import MAPS, Enforcer, Place
from terway.agent.policy.engine import Engine
from terway.datapath.fights import Fights
from terway.linux.workers import Workers
from terway.model.errors import VpcError
from terway.model.exposition import Counter, Gauge, Metric
from terway.policy.compiled import Change, Compiled
from terway.policy.nft.names import TABLE

LOOK_EVERY_S = 1.0
LOOK_SELDOM_S = 4.0
PROVE_EVERY_S = 300.0
_QUIET_S = 1.0
_PACE_S = 0.05  # between what others do and the look at it
_PATIENCE_S = 30.0  # for quiet, when somebody else was at it
_NEVER = float("inf")
_SHARE = 20  # of the time, one part is spent on comparing at most
_NAMED = 5
_NODE: Place = ""
DIFFERS, FOUGHT = "NetworkPolicyDiffers", "NetworkPolicyFoughtOver"

_log = structlog.get_logger("policy")


class Teller(Protocol):
    """Warns about the node; `agent.reporter.Warnings` is the real one."""

    def tell_node(self, reason: str, message: str) -> None:
        """Warn; never waits, never fails."""


def counts_of(compiled: Compiled) -> Mapping[str, int]:
    """Return how much of everything there is."""
    return {
        "hosts": len(compiled.hosts),
        "nets": len(compiled.nets),
        "classes": len({*compiled.hosts.values(), *(one.class_id for one in compiled.nets)}),
        "rule_sets": len(compiled.rule_sets),
        "restricted_pods": len(compiled.sides),
    }


def _called(place: Place) -> str:
    if place == MAPS:
        return f"what is in the {MAPS}"
    return f"table {TABLE} inside {place}" if place else f"table {TABLE} at the node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the last comparison found; `at` is monotonic seconds, 0 for never."""

    at: float = 0.0
    took_s: float = 0.0
    differences: tuple[str, ...] = ()
    error: str = ""


class Proof:
    """Compares now and then, and has mended what differs. `now` is monotonic seconds.

    `news` is set when our table at the node was touched, maybe by us. `is_all_heard` says whether
    that is told of every place there is; where it is not, the others are looked at all the time.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        enforcer: Enforcer,
        workers: Workers,
        teller: Teller,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        news: asyncio.Event | None = None,
        is_all_heard: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._enforcer = enforcer
        self._workers = workers
        self._teller = teller
        self._now = now
        self._sleep = sleep
        self._news = news
        self._is_all_heard = is_all_heard
        self._fights = Fights()
        self._prove_by = _NEVER
        self._changed_at = 0.0
        self._looked_at = 0.0
        self.counts: Mapping[str, int] = {}  # of what is in force, when it was last proved
        self.outcome = Outcome()
        self.has_proved = asyncio.Event()
        self._runs = Counter(
            name="terway_policy_verify_total",
            text="comparisons of what the kernel has with what policies say, by outcome",
        )
        for outcome in ("same", "different", "failed"):
            self._runs.add((("outcome", outcome),), 0)
        self._mended = Counter(
            name="terway_policy_mended_total",
            text="tables made anew because somebody else had changed them",
        )
        self._mended.add((), 0)

    def note(self, change: Change | None) -> None:
        """Take note of what was put in force (None: all); another structure is to be proved."""
        self._changed_at = self._now()
        if change is None or change.rule_sets or change.nets is not None:
            self._ask()

    def _ask(self, *, patience_s: float = PROVE_EVERY_S) -> None:
        """Have it proved once it is quiet, or when patience has run out."""
        self._prove_by = min(self._prove_by, self._now() + patience_s)

    async def run(self) -> None:
        """Look and prove until cancelled."""
        while True:
            await self._pause()
            if self._engine.state.trouble:
                continue
            try:
                await self._turn()
            except VpcError as error:
                self._runs.add((("outcome", "failed"),))
                self.outcome = replace(self.outcome, at=self._now(), error=str(error))
                _log.warning("policy.not_proved", error=str(error))

    async def _pause(self) -> None:
        """Wait for the next look, or until the kernel tells of our table."""
        if self._news is None:
            await self._sleep(_QUIET_S)
            return
        try:
            async with asyncio.timeout(self.rest_s()):
                await self._news.wait()
        except TimeoutError:
            return
        await self._sleep(_PACE_S)  # what is done in one go is looked at in one

    def rest_s(self) -> float:
        """Return how long nothing is looked at, unless there is news.

        Each look wakes an idle terwayd. Where the kernel tells at once of what others do to our
        table (or that it had too much to tell), and there is no other place, a look only finds what
        they do to tables of their own: that is proved once it is quiet, and may wait for it.
        """
        is_idle = self._prove_by == _NEVER and self._is_all_heard()
        return LOOK_SELDOM_S if is_idle else LOOK_EVERY_S

    async def _turn(self) -> None:
        """Do what is due now."""
        is_touched = self._news is not None and self._news.is_set()
        if self._news is not None:
            self._news.clear()
        now = self._now()
        if is_touched or now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            await self._look(is_touched=is_touched)
        since = now - self.outcome.at
        if since < _SHARE * self.outcome.took_s:
            return
        if since >= PROVE_EVERY_S:
            self._ask()
        is_quiet = now - self._changed_at >= _QUIET_S
        if now >= self._prove_by or (is_quiet and self._prove_by < _NEVER):
            await self.prove()

    async def _look(self, *, is_touched: bool) -> None:
        """Mend at once what somebody did in a pod, or to our table at the node."""
        async with self._engine.turn:
            disturbed = await self._workers.run(self._enforcer.disturbed)
        hurt = tuple(one for one in disturbed if one != _NODE or is_touched)
        if hurt:
            await self._check(hurt)
        if _NODE in disturbed and not is_touched:
            self._ask(patience_s=_PATIENCE_S)  # somebody's own tables, most likely

    async def _check(self, places: Collection[Place]) -> None:
        async with self._engine.turn:
            compiled = await self._engine.compiled()
            kept = await self._workers.run(partial(self._enforcer.read, places))
            wrong = await self._workers.run(partial(kept.wrong, compiled))
        if wrong:
            await self._mend(wrong, self._now())

    async def prove(self) -> tuple[str, ...]:
        """Compare once; return in words what differs. What differs is made anew.

        Raises VpcError when what is in force cannot be read.
        """
        self._prove_by = _NEVER
        began_at = self._now()
        async with self._engine.turn:
            compiled = await self._engine.compiled()
            changes = self._engine.state.changes
            kept = await self._workers.run(self._enforcer.read)
        wrong = await self._workers.run(partial(kept.wrong, compiled))
        if wrong and changes != self._engine.state.changes:
            self._ask()  # the wish itself has changed meanwhile: compare once more
            return ()
        found = tuple(one for words in wrong.values() for one in words)
        now = self._now()
        self.counts = counts_of(compiled)
        self.outcome = Outcome(at=now, took_s=now - began_at, differences=found)
        self._runs.add((("outcome", "different" if found else "same"),))
        if wrong:
            await self._mend(wrong, now)
        self.has_proved.set()
        return found

    async def _mend(self, wrong: Mapping[Place, tuple[str, ...]], now: float) -> None:
        await self._engine.renew(tuple(wrong))
        self._mended.add((), len(wrong))
        for place, found in wrong.items():
            self._tell(place, found, now)
        self._ask()  # is it as it should be now?

    def _tell(self, place: Place, found: tuple[str, ...], now: float) -> None:
        """Tell of damage; of a place that is fought over, now and then only."""
        if self._fights.wait_s(place, now=now) > 0:
            return
        self._fights = self._fights.after((place,), now=now)
        text = "; ".join(found[:_NAMED]) + (
            f"; and {len(found) - _NAMED} more" * (len(found) > _NAMED)
        )
        _log.error("policy.differs", differences=len(found), text=text)
        self._teller.tell_node(DIFFERS, f"not as policies say, made anew by terwayd: {text}")
        if self._fights.is_fought_over(place, now=now):
            text = f"{_called(place)} is changed by others again and again, and made anew each time"
            self._teller.tell_node(FOUGHT, f"{text}: have them leave it alone")

    def metrics(self) -> Iterator[Metric]:
        """Yield what was found, in numbers."""
        yield self._runs
        yield self._mended
        yield Gauge(
            name="terway_policy_compiled_count",
            text="what is in force, by kind, when it was last compared",
            values={(("kind", kind),): count for kind, count in self.counts.items()},
        )
        outcome = self.outcome
        yield Gauge(
            name="terway_policy_verify_differences",
            text="differences that the last comparison found",
            values={(): len(outcome.differences)},
        )
        if outcome.at:
            yield Gauge(
                name="terway_policy_verify_age_seconds",
                text="seconds since the last comparison",
                values={(): self._now() - outcome.at},
            )
