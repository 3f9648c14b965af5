"""Whose turn is it? The keys of one controller that are to be looked at, each at most once.

               add                        take
    (nobody) ───────► ready (two lanes) ───────► working ──done──► (nobody), ready again
        ▲      add_after │   ▲                      │              if it was added meanwhile,
        │                ▼   │ when due             │ failed       or delayed
        └──────────── delayed ◄─────────────────────┘

All of it is synchronous, with the time passed in: what waits and works is `manager.py`. A key is
in one place only, so the queue never has more entries than there are objects.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

URGENT_IN_A_ROW = 3  # then an ordinary key has its turn, if one waits
_STALE_ENTRIES = 64  # of the heap, before it is worth to make it anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Generic[K]):
    """It is the turn of `key`, which was ready for `waited_s` seconds."""

    key: K
    waited_s: float


@dataclass(slots=True)
class _Delayed:
    at: float
    urgent: bool


@dataclass(slots=True)
class _Failing:
    """A key whose last round failed: how often in a row, and before when it is not looked at."""

    times: int
    not_before: float


class WorkQueue(Generic[K]):
    """Keys, fairly ordered. Times are seconds of any clock that only goes forward.

    A failing key waits `initial_s` to `maximum_s`, twice as long each time, drawn between half and
    all of it. What happens to its object meanwhile brings its turn forward, though never before
    the first of these waits, or what the error asked for, is over: who fails and thereby changes
    its own object does not run in a circle.
    """

    def __init__(self, *, rng: Random, initial_s: float = 1.0, maximum_s: float = 300.0) -> None:
        self._rng = rng
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        self._urgent: dict[K, float] = {}  # since when ready; the order is that of arrival
        self._ordinary: dict[K, float] = {}
        self._delayed: dict[K, _Delayed] = {}
        self._due: list[tuple[float, int, K]] = []  # a heap; entries `_delayed` contradicts are old
        self._pushed = 0
        self._working: dict[K, bool | None] = {}  # added meanwhile? urgently?
        self._failing: dict[K, _Failing] = {}
        self._urgent_in_a_row = 0

    @property
    def depth(self) -> int:
        """Return how many keys are ready."""
        return len(self._urgent) + len(self._ordinary)

    @property
    def delayed(self) -> int:
        """Return how many keys wait for a moment of their own."""
        return len(self._delayed)

    @property
    def working(self) -> int:
        """Return how many keys are being worked."""
        return len(self._working)

    @property
    def failing(self) -> int:
        """Return how many keys failed in their last round."""
        return len(self._failing)

    def add(self, key: K, *, now: float, urgent: bool = False) -> None:
        """Have `key` looked at. One that is being worked is worked again after that."""
        if key in self._working:
            self._working[key] = bool(self._working[key]) or urgent
            return
        failing = self._failing.get(key)
        if failing is not None and failing.not_before > now:
            self._delay(key, failing.not_before, urgent=urgent)
        else:
            self._make_ready(key, now, urgent=urgent)

    def add_after(self, key: K, delay_s: float, *, now: float) -> None:
        """Have `key` looked at in `delay_s` seconds, if nothing has it looked at before."""
        if key not in self._working and key not in self._urgent and key not in self._ordinary:
            self._delay(key, now + delay_s, urgent=False)

    def take(self, *, now: float) -> Turn[K] | None:
        """Return whose turn it is, and count it as working; None when nobody is ready.

        Urgent keys go first, but of four turns one is an ordinary key's: the n-th ordinary key of
        those that wait has its turn after 4 n others at most.
        """
        self._promote(now)
        lane = self._lane()
        if not lane:
            return None
        key = next(iter(lane))
        since = lane.pop(key)
        self._working[key] = None
        return Turn(key=key, waited_s=max(0.0, now - since))

    def done(self, key: K, *, now: float, again_in_s: float | None = None) -> None:
        """Say that a round of `key` succeeded, and when the next is due if nothing happens."""
        again = self._working.pop(key)
        self._failing.pop(key, None)
        if again is not None:
            self._make_ready(key, now, urgent=again)
        elif again_in_s is not None:
            self._delay(key, now + again_in_s, urgent=False)

    def failed(self, key: K, *, now: float, retry_after_s: float = 0.0) -> float:
        """Say that a round of `key` failed; return in how many seconds the next is due.

        `retry_after_s` is what the error asked for; the wait is not shorter.
        """
        again = self._working.pop(key)
        before = self._failing.get(key)
        times = 1 if before is None else before.times + 1
        first_s = max(retry_after_s, self._drawn(1))
        self._failing[key] = _Failing(times=times, not_before=now + first_s)
        delay_s = max(first_s, self._drawn(times)) if again is None else first_s
        self._delay(key, now + delay_s, urgent=bool(again))
        return delay_s

    def next_at(self) -> float | None:
        """Return when the first of the delayed keys is due; None if there is none."""
        while self._due and self._is_old(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _drawn(self, times: int) -> float:
        # Beyond 2^32 times the first wait, any ceiling is reached.
        whole_s = min(self._initial_s * 2.0 ** min(times - 1, 32), self._maximum_s)
        return whole_s * self._rng.uniform(0.5, 1.0)

    def _lane(self) -> dict[K, float]:
        """Return the lane whose turn it is."""
        ordinary_is_due = self._urgent_in_a_row >= URGENT_IN_A_ROW or not self._urgent
        if self._ordinary and ordinary_is_due:
            self._urgent_in_a_row = 0
            return self._ordinary
        # Counted while ordinary keys wait only: whoever comes later has nothing to make up for.
        self._urgent_in_a_row = self._urgent_in_a_row + 1 if self._ordinary else 0
        return self._urgent

    def _make_ready(self, key: K, now: float, *, urgent: bool) -> None:
        delayed = self._delayed.pop(key, None)
        urgent = urgent or (delayed is not None and delayed.urgent)
        if key in self._urgent:
            return
        if urgent:
            self._urgent[key] = self._ordinary.pop(key, now)
        else:
            self._ordinary.setdefault(key, now)

    def _delay(self, key: K, at: float, *, urgent: bool) -> None:
        before = self._delayed.get(key)
        if before is not None:
            before.urgent = before.urgent or urgent
            if before.at <= at:
                return
        self._delayed[key] = _Delayed(at, urgent or (before is not None and before.urgent))
        self._pushed += 1
        heapq.heappush(self._due, (at, self._pushed, key))
        if len(self._due) > 2 * len(self._delayed) + _STALE_ENTRIES:
            self._due = [entry for entry in self._due if not self._is_old(entry)]
            heapq.heapify(self._due)

    def _is_old(self, entry: tuple[float, int, K]) -> bool:
        at, _, key = entry
        delayed = self._delayed.get(key)
        return delayed is None or delayed.at != at

    def _promote(self, now: float) -> None:
        while (at := self.next_at()) is not None and at <= now:
            key = heapq.heappop(self._due)[2]
            self._make_ready(key, at, urgent=False)
