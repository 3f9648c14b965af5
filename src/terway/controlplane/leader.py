"""Who works? Of several instances the one that holds the lease.

    wait ──lease free, or unchanged for its whole duration──► lead ──stop──► give it back
                                                               │
              renewal failed for renew_deadline_s ─────────────┴──► LeaseLostError

Whether a lease is stale is judged by how long we have seen it unchanged, on our own clock: two
instances whose clocks differ do not lead together. Whoever leads stops `renew_deadline_s` after
the beginning of its last renewal that succeeded, which is before the lease can be another's.
A process that is stopped meanwhile, by a signal or by its machine, goes on in the middle of its
work: so that the lease is still ours is asked again right before whatever changes anything.
Source: k8s.io/client-go, tools/leaderelection, which does the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import structlog
from msgspec import structs

from terway.controlplane.config import LeaseConf
from terway.kube.client import KubeClient
from terway.kube.clock import format_micro_time
from terway.kube.resource import LEASES
from terway.kube.types import Lease, LeaseSpec, ObjectMeta
from terway.model.errors import ConflictError, TransientError, VpcError

_log = structlog.get_logger("leader")

_RELEASE_S = 2.0  # somebody waits for us to end
_JITTER = 0.2  # of the time between two tries, so that candidates do not come in step


class LeaseLostError(TransientError):
    """This instance may not work any more. It may start again, and wait for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A lease as it was when it changed last, and when that was, in monotonic seconds."""

    lease: Lease
    at: float


def look(before: Seen | None, found: Lease, *, now: float) -> Seen:
    """Return what is known of the lease after it was `found` now."""
    if before is not None and before.lease.spec == found.spec:
        return Seen(lease=found, at=before.at)
    return Seen(lease=found, at=now)


def is_free(seen: Seen, *, holder: str, now: float) -> bool:
    """Return whether `holder` may have the lease."""
    spec = seen.lease.spec
    if not spec.holder_identity or spec.holder_identity == holder:
        return True
    return now >= seen.at + (spec.lease_duration_seconds or 0)


class Leader:
    """One candidate. `holder` names it: no two processes may have the same name.

    `clock` is seconds since the epoch, for people who read the lease; `monotonic` the loop's own
    time, but as it is now: a loop may keep the time at which its turn began.
    """

    def __init__(
        self,
        client: KubeClient,
        conf: LeaseConf,
        *,
        holder: str,
        clock: Callable[[], float],
        rng: Random,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._conf = conf
        self._holder = holder
        self._clock = clock
        self._rng = rng
        self._monotonic = monotonic or _now
        self._seen: Seen | None = None
        self._renewed_at = 0.0
        self.is_leading = False

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run `work` as long as it is ours. Cancel it to stop.

        Raises LeaseLostError when it is not any more, or what `work` raises, in a group.
        """
        await self._acquire()
        _log.info("leader.leading", holder=self._holder)
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._keep(), name="lease")
                self.is_leading = True
                await work()
                renewing.cancel()
        finally:
            self.is_leading = False
            await self._give_back()

    def check(self) -> None:
        """Raise LeaseLostError unless this instance may work at this very moment."""
        if not self.is_leading:
            raise LeaseLostError(f"lease {self._name} is not ours: nothing is changed")
        late_s = self._monotonic() - self._deadline
        if late_s >= 0.0:
            text = f"lease {self._name} ended {late_s:.1f} s ago while we stood still"
            raise LeaseLostError(f"{text}: nothing is changed, for another may lead")

    @property
    def _deadline(self) -> float:
        return self._renewed_at + self._conf.renew_deadline_s

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._conf.retry_s * (1 + _JITTER * self._rng.random()))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._conf.retry_s)
            try:
                async with asyncio.timeout_at(self._deadline):
                    while not await self._try():
                        self._check_ours()
                        await asyncio.sleep(self._conf.retry_s)
            except TimeoutError:
                text = (
                    f"lease {self._name} could not be renewed for {self._conf.renew_deadline_s:g} s"
                )
                raise LeaseLostError(f"{text}: stop before another leads") from None

    @property
    def _name(self) -> str:
        return f"{self._conf.namespace}/{self._conf.name}"

    def _check_ours(self) -> None:
        holder = self._seen.lease.spec.holder_identity if self._seen is not None else None
        if holder and holder != self._holder:
            raise LeaseLostError(f"lease {self._name} is {holder}'s: it was taken from us")

    async def _try(self) -> bool:
        """Take or renew the lease; False while it is another's, or the API server is away."""
        began = _now()
        try:
            taken = await self._put(began)
        except VpcError as error:
            _log.warning("leader.no_answer", lease=self._name, error=str(error))
            return False
        if taken:
            self._renewed_at = began
        return taken

    async def _put(self, now: float) -> bool:
        name, namespace = self._conf.name, self._conf.namespace
        found = await self._client.get(LEASES, name, namespace=namespace)
        try:
            if found is None:
                made = Lease(metadata=ObjectMeta(name=name, namespace=namespace))
                lease = await self._client.create(LEASES, self._held(made))
            else:
                self._seen = look(self._seen, found, now=now)
                if not is_free(self._seen, holder=self._holder, now=now):
                    return False
                lease = await self._client.update(LEASES, self._held(found))
        except ConflictError:
            return False  # somebody else was faster
        self._seen = Seen(lease=lease, at=now)
        return True

    def _held(self, lease: Lease) -> Lease:
        before, now = lease.spec, format_micro_time(self._clock())
        is_renewal = before.holder_identity == self._holder
        spec = LeaseSpec(
            holder_identity=self._holder,
            lease_duration_seconds=round(self._conf.duration_s),
            acquire_time=before.acquire_time if is_renewal else now,
            renew_time=now,
            lease_transitions=(before.lease_transitions or 0) + (0 if is_renewal else 1),
        )
        return structs.replace(lease, spec=spec)

    async def _give_back(self) -> None:
        """Let the next one lead at once, if it is still ours; it is too late to complain."""
        seen = self._seen
        if seen is None or seen.lease.spec.holder_identity != self._holder:
            return
        spec = structs.replace(seen.lease.spec, holder_identity="", lease_duration_seconds=1)
        try:
            async with asyncio.timeout(_RELEASE_S):
                await self._client.update(LEASES, structs.replace(seen.lease, spec=spec))
        except (VpcError, TimeoutError) as error:
            _log.info("leader.not_given_back", lease=self._name, error=str(error))
        else:
            _log.info("leader.gave_back", holder=self._holder)


def _now() -> float:
    return asyncio.get_running_loop().time()
