"""How many calls a minute may be made of the cloud, and whose turn is it?

One bucket for each action, for the whole control plane: a declared share of what the account may
call, a minute's worth at once, then as it flows in. Between those who want calls it is fair: each
has as many turns as the others, whatever it asks for (start-time fair queueing); among equals, the
newest pod comes first, because somebody waits for it.

The account's limits are shared with strangers. So a throttling answer halves the rate, and what
may be called at once for good; answers that are not bring the rate back slowly: within a minute
half of the full one.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

SHARE = 0.9  # of the account's limits, where the configuration says nothing
# Calls per minute. Source: upstream's pkg/aliyun/client, whose burst equals the value.
ACCOUNT_LIMITS: Mapping[str, float] = {
    "*": 500,
    "AttachNetworkInterface": 500,
    "CreateNetworkInterface": 500,
    "DeleteNetworkInterface": 500,
    "DescribeNetworkInterfaces": 800,
    "DescribeNetworkInterfaceAttribute": 2000,
    "DetachNetworkInterface": 400,
    "AssignPrivateIpAddresses": 400,
    "UnassignPrivateIpAddresses": 400,
    "AssignIpv6Addresses": 400,
    "UnassignIpv6Addresses": 400,
    "DescribeInstanceTypes": 400,
    "DescribeVSwitches": 300,
}

_SHRINK = 0.5
_LEAST = 0.02  # of the full rate
_REGROWTH = 0.5  # of the full rate, for a minute's worth of calls that were not throttled
_MARGIN = 1.0001  # an alarm at exactly the time must not find 0.999… of a token
_LEAST_WAIT_S = 1e-6  # a shorter alarm goes off without any time having passed


class Turns(Protocol):
    """Whoever hands out turns to call: `CallBudget` does, and a fake may."""

    async def take(self, action: str, *, who: str, newest: float = 0.0) -> None:
        """Return when `who` may call `action` once."""
        ...

    def answered(self, action: str) -> None:
        """Learn that a call was not throttled."""
        ...

    def throttled(self, action: str, retry_after_s: float) -> None:
        """Learn that the cloud asked for fewer calls."""
        ...


@dataclass(slots=True, order=True)
class _Wish:
    """Someone's call, at its place in the order."""

    start: float
    unurgency: float  # the newest pod first
    number: int
    granted: asyncio.Future[None] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one action's bucket is like, for metrics."""

    action: str
    waiting: int
    taken: int  # since the beginning
    throttled: int  # since the beginning
    rate_per_min: float


class _Bucket:
    """Tokens of one action, and who waits for them."""

    def __init__(self, full_per_min: float, now: float) -> None:
        self.full_per_s = full_per_min / 60.0
        self.rate = self.full_per_s
        self.burst = max(1.0, full_per_min)
        self.tokens = self.burst
        self.filled_at = now
        self.closed_until = 0.0
        self.wishes: list[_Wish] = []
        self.turn = 0.0  # of the wish that was granted last
        self.starts: dict[str, float] = {}  # of those who wait or had a turn ahead: their last
        self.taken = 0
        self.refusals = 0

    def refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now

    def can_spend(self, now: float) -> bool:
        return self.tokens >= 1.0 and now >= self.closed_until

    def ready_in(self, now: float) -> float:
        flow_s = max(0.0, 1.0 - self.tokens) / self.rate * _MARGIN
        return max(flow_s, self.closed_until - now, _LEAST_WAIT_S)

    def line_up(self, who: str, newest: float, number: int, granted: asyncio.Future[None]) -> None:
        start = max(self.turn, self.starts.get(who, 0.0)) + 1.0
        self.starts[who] = start
        wish = _Wish(start=start, unurgency=-newest, number=number, granted=granted)
        heapq.heappush(self.wishes, wish)

    def next_wish(self) -> _Wish | None:
        """Return whose turn it is, and let those go who gave up."""
        while self.wishes and self.wishes[0].granted.done():
            heapq.heappop(self.wishes)
        if not self.wishes:
            self.starts.clear()
            self.turn = 0.0
        return self.wishes[0] if self.wishes else None

    def spend(self) -> None:
        self.tokens -= 1.0
        self.taken += 1


class CallBudget:
    """The control plane's one budget. `clock` is monotonic seconds.

    Limits are by action, `"*"` for every action that is not named.
    """

    def __init__(
        self,
        limits: Mapping[str, float] = ACCOUNT_LIMITS,
        *,
        share: float = SHARE,
        clock: Callable[[], float],
    ) -> None:
        self._limits = {**ACCOUNT_LIMITS, **limits}
        self._share = share
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._made = 0
        self.on_turn: Callable[[str, float], None] = lambda action, waited_s: None

    async def take(self, action: str, *, who: str, newest: float = 0.0) -> None:
        """Return when `who` may call `action` once. Cancelling gives the turn to the next.

        `who` is between whom it is fair: a node, or a PodENI. `newest` says when the newest pod
        came that the call is for, in any seconds; 0 for calls that nobody waits for.
        """
        bucket = self._bucket(action)
        bucket.refill(self._clock())
        if bucket.next_wish() is None and bucket.can_spend(self._clock()):
            bucket.spend()
            self.on_turn(action, 0.0)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._made += 1
        began = self._clock()
        bucket.line_up(who, newest, self._made, granted)
        self._serve(action)
        await granted
        self.on_turn(action, self._clock() - began)

    def answered(self, action: str) -> None:
        """Learn that a call was not throttled."""
        bucket = self._bucket(action)
        growth = _REGROWTH / 60.0
        bucket.rate = min(bucket.full_per_s, bucket.rate + growth)

    def throttled(self, action: str, retry_after_s: float) -> None:
        """Learn that the cloud asked for fewer calls."""
        bucket = self._bucket(action)
        now = self._clock()
        bucket.refill(now)
        bucket.refusals += 1
        bucket.closed_until = max(bucket.closed_until, now + retry_after_s)
        bucket.rate = max(bucket.full_per_s * _LEAST, bucket.rate * _SHRINK)
        bucket.burst = max(1.0, bucket.burst * _SHRINK)
        bucket.tokens = min(bucket.tokens, 1.0)

    def usage(self) -> tuple[Usage, ...]:
        """Return how each bucket is that was asked for."""
        return tuple(
            Usage(
                action=action,
                waiting=len(one.wishes),
                taken=one.taken,
                throttled=one.refusals,
                rate_per_min=one.rate * 60.0,
            )
            for action, one in sorted(self._buckets.items())
        )

    def _bucket(self, action: str) -> _Bucket:
        found = self._buckets.get(action)
        if found is None:
            limit = self._limits.get(action, self._limits["*"])
            found = self._buckets[action] = _Bucket(limit * self._share, self._clock())
        return found

    def _serve(self, action: str) -> None:
        """Grant what can be granted now, and set the alarm for the next."""
        alarm = self._alarms.pop(action, None)
        if alarm is not None:
            alarm.cancel()
        bucket = self._bucket(action)
        now = self._clock()
        bucket.refill(now)
        while (wish := bucket.next_wish()) is not None:
            if not bucket.can_spend(now):
                self._set_alarm(action, bucket.ready_in(now))
                return
            heapq.heappop(bucket.wishes)
            bucket.turn = max(bucket.turn, wish.start)
            bucket.spend()
            wish.granted.set_result(None)

    def _set_alarm(self, action: str, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._alarms[action] = loop.call_later(delay_s, self._serve, action)
