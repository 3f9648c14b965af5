"""Journal, kernel and API are compared and brought together, at start and from then on.

journal has it, kernel not      mended, as long as the pod's veth is whole
kernel has it, journal not      removed: nobody's
journal has it, nobody else     released, when its namespace and its pod have long been gone
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from terway.agent.enis import ENILinks
from terway.agent.network import KernelNetwork
from terway.agent.pool_ports import ManagedENI
from terway.agent.stopwatch import Stopwatch
from terway.agent.verbs import Pool, Verbs
from terway.ipam.values import ENIPhase
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.errors import VpcError
from terway.model.ids import MacAddress

PERIOD_S = 30.0
# While the link of an ENI in use is missing: until then the cloud may not say yet that it is gone.
_MISSING_PERIOD_S = 10.0
# What changes the kernel rarely changes one thing; and who undoes our work is not raced with.
_SETTLE_S = 0.3
# How long nobody may have claimed an attachment before it is taken for forgotten. A runtime that
# is restarting, or an API server that is away, must not cost a pod its address.
FORGOTTEN_S = 300.0

_log = structlog.get_logger("reconcile")


class PodPresence(Protocol):
    """Whether a pod is still wanted."""

    def is_gone(self, ref: PodRef) -> bool:
        """Return True only when it is known that the pod is no more."""


class ManagedPool(Pool, Protocol):
    """The pool with its ENIs."""

    def enis(self) -> tuple[ManagedENI, ...]:
        """Return the ENIs of the pool."""

    def observe_soon(self) -> None:
        """Have the cloud read now."""


class Reconciler:
    """Brings the three together. `now` is monotonic seconds; `pods` is None without an API."""

    def __init__(
        self,
        *,
        pool: ManagedPool,
        network: KernelNetwork,
        enis: ENILinks,
        verbs: Verbs,
        pods: PodPresence | None,
        now: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._network = network
        self._enis = enis
        self._verbs = verbs
        self._pods = pods
        self._now = now
        self._unclaimed_since: dict[AttachmentKey, float] = {}
        self._woken = asyncio.Event()
        self._pause_s = PERIOD_S
        self.has_run = asyncio.Event()

    async def run(self) -> None:
        """Reconcile now, every `PERIOD_S` seconds and when woken, until cancelled."""
        while True:
            self._woken.clear()
            await self.reconcile()
            self.has_run.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await self._woken.wait()
                    await asyncio.sleep(_SETTLE_S)

    def wake(self) -> None:
        """Reconcile soon: somebody saw the kernel change."""
        self._woken.set()

    @property
    def enis_in_use(self) -> frozenset[MacAddress]:
        """Return the ENIs that must have a link here.

        After a restart the pool looks at its ENIs anew; those that pods use are in use before.
        """
        in_use = {eni.mac for eni in self._pool.enis() if eni.phase is ENIPhase.IN_USE}
        return frozenset(in_use | {one.lease.eni_mac for one in self._pool.attachments()})

    async def reconcile(self) -> None:
        """Bring all together once. What fails is logged, and tried again the next time."""
        await self._ready_enis()
        await self._sweep()
        present = self._pool.attachments()
        for attachment in present:
            await self._look_after(attachment)
        self._unclaimed_since = {
            one.key: self._unclaimed_since[one.key]
            for one in present
            if one.key in self._unclaimed_since
        }

    async def _ready_enis(self) -> None:
        """Configure the ENIs in use; have the cloud asked about those that have no link.

        Nothing is waited for: the link that comes later wakes us.
        """
        failures = await self._enis.refresh(sorted(self.enis_in_use))
        for mac, error in failures.items():
            _log.warning("reconcile.eni_not_ready", eni_mac=mac, error=str(error))
        self._pause_s = _MISSING_PERIOD_S if failures else PERIOD_S
        if failures:
            self._pool.observe_soon()

    async def _sweep(self) -> None:
        try:
            done = await self._network.sweep(self._pool.attachments, lambda: self._verbs.turns.busy)
        except VpcError as error:
            _log.warning("reconcile.sweep_failed", error=str(error))
            return
        if done:
            _log.warning("reconcile.swept", operations=[str(one) for one in done])

    async def _look_after(self, attachment: Attachment) -> None:
        key = attachment.key
        if key in self._verbs.turns.busy:
            return
        try:
            if self._is_forgotten(attachment):
                await self._verbs.delete(key, Stopwatch(self._now))
                _log.warning("reconcile.released", attachment=str(key), pod=str(attachment.pod))
                return
            async with self._verbs.turns.turn(key):
                is_there = self._pool.attachment(key) is not None
                if is_there and await self._network.mend(attachment):
                    _log.warning("reconcile.mended", attachment=str(key))
        except VpcError as error:
            _log.warning("reconcile.failed", attachment=str(key), error=str(error))

    def _is_forgotten(self, attachment: Attachment) -> bool:
        """Return whether nobody has claimed the attachment for `FORGOTTEN_S` seconds."""
        if os.path.exists(attachment.netns) or not self._is_unwanted(attachment.pod):
            self._unclaimed_since.pop(attachment.key, None)
            return False
        since = self._unclaimed_since.setdefault(attachment.key, self._now())
        return self._now() - since >= FORGOTTEN_S

    def _is_unwanted(self, pod: PodRef | None) -> bool:
        return pod is None or self._pods is None or self._pods.is_gone(pod)
