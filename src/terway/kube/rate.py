"""How many requests may go to the API server? A bucket that fills at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class RateLimit:
    """At most `qps` requests a second, and `burst` at once after a pause.

    Who comes when the bucket is empty waits for his turn, in order of arrival.
    """

    def __init__(
        self,
        *,
        qps: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval_s = 1.0 / qps
        self._burst = max(1, burst)
        self._clock = clock
        self._sleep = sleep
        self._next_at = float("-inf")  # when the bucket would be full but for what was taken

    async def take(self) -> None:
        """Return when the request may go."""
        now = self._clock()
        # The bucket as one moment (generic cell rate algorithm): no task that fills it.
        start = max(self._next_at, now - (self._burst - 1) * self._interval_s)
        self._next_at = start + self._interval_s
        if start > now:
            await self._sleep(start - now)
