"""Is what the kernel has what the policies say? Read back, understood anew and compared.

after each change of structure, once it is quiet ──┐
when somebody else has changed nftables ───────────┼─► read ─► lift ─► compare ──differs──► anew
now and then ──────────────────────────────────────┘                     └─► metric, event

Reading takes a turn of the engine, in which nothing else is put in force: so it waits for quiet.
Comparing takes none, and never more than a share of a CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from terway.agent.exposition import Counter, Gauge, Metric
from terway.agent.policy.enforcer import Enforcer
from terway.agent.policy.engine import Engine
from terway.datapath.fights import Fights
from terway.linux.workers import Workers
from terway.model.errors import VpcError
from terway.policy.compiled import Change, Compiled

LOOK_EVERY_S = 4.0
PROVE_EVERY_S = 300.0
_QUIET_S = 1.0
_PATIENCE_S = 30.0  # for quiet, when somebody else was at it
_NEVER = float("inf")
_SHARE = 20  # of the time, one part is spent on comparing at most
_NAMED = 5
DIFFERS, FOUGHT = "NetworkPolicyDiffers", "NetworkPolicyFoughtOver"
_PLACE = "table terway_policy"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the last comparison found; `at` is monotonic seconds, 0 for never."""

    at: float = 0.0
    took_s: float = 0.0
    differences: tuple[str, ...] = ()
    error: str = ""


class Proof:
    """Compares now and then, and has mended what differs. `now` is monotonic seconds."""

    def __init__(
        self,
        *,
        engine: Engine,
        enforcer: Enforcer,
        workers: Workers,
        teller: Teller,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._enforcer = enforcer
        self._workers = workers
        self._teller = teller
        self._now = now
        self._sleep = sleep
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
            await self._sleep(_QUIET_S)
            if self._engine.state.trouble:
                continue
            try:
                await self._turn()
            except VpcError as error:
                self._runs.add((("outcome", "failed"),))
                self.outcome = replace(self.outcome, at=self._now(), error=str(error))
                _log.warning("policy.not_proved", error=str(error))

    async def _turn(self) -> None:
        """Do what is due now."""
        now = self._now()
        since = now - self.outcome.at
        if since < _SHARE * self.outcome.took_s:
            return
        if since >= PROVE_EVERY_S:
            self._ask()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            if not await self._is_as_left():
                self._ask(patience_s=_PATIENCE_S)
        is_quiet = now - self._changed_at >= _QUIET_S
        if now >= self._prove_by or (is_quiet and self._prove_by < _NEVER):
            await self.prove()

    async def _is_as_left(self) -> bool:
        async with self._engine.turn:
            return await self._workers.run(self._enforcer.is_as_left)

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
        found = await self._workers.run(partial(kept.differences, compiled))
        if found and changes != self._engine.state.changes:
            self._ask()  # the wish itself has changed meanwhile: compare once more
            return ()
        now = self._now()
        self.counts = counts_of(compiled)
        self.outcome = Outcome(at=now, took_s=now - began_at, differences=found)
        self._runs.add((("outcome", "different" if found else "same"),))
        if found:
            self._mend(found, now)
        self.has_proved.set()
        return found

    def _mend(self, found: tuple[str, ...], now: float) -> None:
        if self._fights.wait_s(_PLACE, now=now) > 0:
            self._ask()
            return
        self._fights = self._fights.after((_PLACE,), now=now)
        text = "; ".join(found[:_NAMED]) + (
            f"; and {len(found) - _NAMED} more" * (len(found) > _NAMED)
        )
        _log.error("policy.differs", differences=len(found), text=text)
        self._teller.tell_node(DIFFERS, f"not as policies say, made anew by terwayd: {text}")
        if self._fights.is_fought_over(_PLACE, now=now):
            text = f"{_PLACE} is changed by others again and again: have them leave it alone"
            self._teller.tell_node(FOUGHT, text)
        self._engine.make_anew()

    def metrics(self) -> Iterator[Metric]:
        """Yield what was found, in numbers."""
        yield self._runs
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
