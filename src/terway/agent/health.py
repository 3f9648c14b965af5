"""Is terwayd alive, and could it serve? With reasons, for probes and for people.

/healthz  to be started again: what a new process may cure    loops that stand still, own fault
/readyz   not to be asked now: what passes, or others mend    not serving, no address, no disk

A machine without CPU to spare makes every program late. Starting one again then makes it worse, so
being late counts only when terwayd itself has used the time up (bug class 25).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec

from terway.agent.readonly import Page
from terway.model.errors import VpcError
from terway.model.exposition import Gauge, Histogram, Metric

TICK_S = 5.0
# A loop that did not turn for this long stands still: each turns every two minutes.
STILL_S = 600.0
LATE_S = 10.0
# Of the time that it is late, this share was spent by terwayd itself: it is busy, not starved.
_OWN_SHARE = 0.5
_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One question and its answer; `reason` is empty when all is well."""

    check: str
    reason: str


class Health:
    """Knows how terwayd does. `now` is monotonic seconds, `cpu` those this process has used.

    `beat_at` tells when the reconciler last turned, `serves` whether the socket is open, and
    `could_add` raises VpcError when an ADD could not be served.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        beat_at: Callable[[], float],
        serves: Callable[[], bool],
        could_add: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._state_dir = state_dir
        self._beat_at = beat_at
        self._serves = serves
        self._could_add = could_add
        self._now = now
        self._cpu = cpu
        self._ticked_at = now()
        self._cpu_then = cpu()
        self._lag = Histogram(
            name="terway_loop_lag_seconds",
            text="how much later than asked for the event loop woke",
            buckets=_LAG_BUCKETS_S,
        )

    async def run(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)
            self._lag.observe((), max(0.0, self._now() - self._ticked_at - TICK_S))

    def tick(self) -> None:
        """Take note that the event loop turns."""
        self._ticked_at, self._cpu_then = self._now(), self._cpu()

    def live(self) -> Page:
        """Return the page that says whether terwayd should be started again."""
        return _page((self._loop(), self._reconciler(), self._journal()))

    def ready(self) -> Page:
        """Return the page that says whether an ADD could be served now."""
        return _page((self._serving(), self._pool(), self._journal()))

    def metrics(self) -> Iterator[Metric]:
        """Yield what the pages say in numbers."""
        yield self._lag
        for name, text, page in (
            ("terway_healthy", "1 while /healthz says yes", self.live()),
            ("terway_ready", "1 while /readyz says yes", self.ready()),
        ):
            yield Gauge(name=name, text=text, values={(): float(page.status is HTTPStatus.OK)})

    def _loop(self) -> Finding:
        late_s = self._now() - self._ticked_at - TICK_S
        own_s = self._cpu() - self._cpu_then
        is_bad = late_s > LATE_S and own_s > late_s * _OWN_SHARE
        text = f"the event loop is {late_s:.0f} s late and has used {own_s:.0f} s of CPU meanwhile"
        return Finding(check="loop", reason=text if is_bad else "")

    def _reconciler(self) -> Finding:
        still_s = self._now() - self._beat_at()
        own_s = self._now() - self._ticked_at
        # A process that was stopped, or starved, stood still as a whole.
        is_bad = still_s > STILL_S and own_s < STILL_S / 2
        text = f"the kernel has not been looked at for {still_s:.0f} s: a call to it hangs"
        return Finding(check="reconcile", reason=text if is_bad else "")

    def _journal(self) -> Finding:
        probe = self._state_dir / ".probe"
        try:
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
        except OSError as error:
            text = f"{self._state_dir} cannot be written: {os.strerror(error.errno or 0)}"
            return Finding(check="journal", reason=text)
        return Finding(check="journal", reason="")

    def _serving(self) -> Finding:
        return Finding(check="serving", reason="" if self._serves() else "not serving (yet)")

    def _pool(self) -> Finding:
        try:
            self._could_add()
        except VpcError as error:
            return Finding(check="pool", reason=str(error))
        return Finding(check="pool", reason="")


def _page(findings: tuple[Finding, ...]) -> Page:
    is_well = not any(one.reason for one in findings)
    body = {
        "status": "ok" if is_well else "failed",
        "checks": {one.check: one.reason or "ok" for one in findings},
    }
    return Page(
        body=msgspec.json.encode(body) + b"\n",
        content_type="application/json",
        status=HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE,
    )
