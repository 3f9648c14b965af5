"""Journal, kernel and API are compared and brought together, at start and from then on.

journal has it, kernel not      mended, as long as the namespace is the pod's for sure
kernel has it, journal not      removed: nobody's
journal has it, nobody else     released, when its namespace and its pod have long been gone
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from terway.agent.enis import ENILinks
from terway.agent.ground import Ground
from terway.agent.looks import Looks
from terway.agent.network import KernelNetwork
from terway.agent.pool_ports import ManagedENI
from terway.agent.stopwatch import Stopwatch
from terway.agent.verb_ports import Pool
from terway.agent.verbs import Verbs
from terway.ipam.values import ENIPhase
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.errors import VpcError
from terway.model.ids import MacAddress
from terway.model.interface import Mode

PERIOD_S = 120.0
# How often settings are looked at of which netlink tells nothing.
SETTINGS_PERIOD_S = 4.0
# While the link of an ENI in use is missing: until then the cloud may not say yet that it is gone.
_MISSING_PERIOD_S = 10.0
# What changes the kernel rarely changes one thing; and who undoes our work is not raced with.
_SETTLE_S = 0.3
# Between two looks that were asked for: who changes things in a loop costs this much of a CPU.
REST_S = 1.0
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
    """Brings the three together. `now` is monotonic seconds; `pods` is None without an API.

    `took` hears how many seconds each time took.
    """

    def __init__(
        self,
        *,
        pool: ManagedPool,
        network: KernelNetwork,
        enis: ENILinks,
        verbs: Verbs,
        pods: PodPresence | None,
        now: Callable[[], float],
        took: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._network = network
        self._enis = enis
        self._verbs = verbs
        self._pods = pods
        self._now = now
        self._unclaimed_since: dict[AttachmentKey, float] = {}
        self._looks = Looks()
        self._enis_of_pods: frozenset[MacAddress] = frozenset()
        self._pause_s = PERIOD_S
        self.has_run = asyncio.Event()
        self.rest_s = REST_S
        self.took = took
        self.beat_at = now()  # when it last showed that it is alive

    async def run(self) -> None:
        """Reconcile now, every `PERIOD_S` seconds and when woken, until cancelled."""
        is_due = True
        while True:
            began_at = self.beat_at = self._now()
            await self.reconcile(is_due=is_due)
            self.took(self._now() - began_at)
            self.has_run.set()
            await self._wait()
            is_due = not self._looks.is_node_asked

    async def _wait(self) -> None:
        """Wait for the next time; look into the pods that are asked for meanwhile."""
        time_s = asyncio.get_running_loop().time
        until = time_s() + min(self._pause_s, self._network.wait_s)
        await asyncio.sleep(max(0.0, min(self.rest_s, until - time_s())))
        while await self._is_asked(until) and not self._looks.is_node_asked:
            await self._look_into(self._looks.take_pods())

    async def _is_asked(self, until: float) -> bool:
        """Wait until somebody asks for a look, or for the end; a look itself is not cut short."""
        try:
            async with asyncio.timeout_at(until):
                await self._looks.wait_asked()
                await asyncio.sleep(_SETTLE_S)
        except TimeoutError:
            return False
        return True

    async def run_settings(self) -> None:
        """Look at the settings of which netlink tells nothing, until cancelled."""
        while True:
            await asyncio.sleep(SETTINGS_PERIOD_S)
            if await self._network.settings_differ():
                self.wake()

    def wake(self) -> None:
        """Reconcile soon: somebody saw the kernel change."""
        self._looks.ask_node()

    def wake_pod(self, key: AttachmentKey) -> None:
        """Look into a pod soon: somebody saw it change."""
        self._looks.ask_pod(key)

    def wake_stranger(self, nsid: int) -> None:
        """Find out soon whose the namespace with this number is, and look into it."""
        self._looks.ask_namespace(nsid)

    @property
    def strangers(self) -> frozenset[int]:
        """Return the namespaces that are no pod's of ours, as far as it was found out."""
        return self._looks.strangers

    @property
    def ground(self) -> Ground:
        """Return which numbers the kernel has for what is ours."""
        return self._network.ground

    def is_attached(self, key: AttachmentKey) -> bool:
        """Return whether the journal has an attachment."""
        return self._pool.attachment(key) is not None

    @property
    def enis_in_use(self) -> frozenset[MacAddress]:
        """Return the ENIs that must have a link here.

        After a restart the pool looks at its ENIs anew; those that pods use are in use before.
        """
        in_use = {eni.mac for eni in self._pool.enis() if eni.phase is ENIPhase.IN_USE}
        return self._enis_of_pods | in_use

    async def reconcile(self, *, is_due: bool = True) -> None:
        """Bring all together once. What fails is logged, and tried again the next time.

        Pods have their turn to be looked into when the time has come, not when somebody asks.
        """
        self._looks.take_node()
        self._enis_of_pods = frozenset(one.device_mac for one in self._pool.attachments())
        await self._ready_enis()
        await self._sweep()
        present = self._pool.attachments()
        for attachment in present:
            await self._release_if_forgotten(attachment)
        due = self._due(present) if is_due else frozenset()
        await self._look_into(due | self._looks.take_pods())
        self._unclaimed_since = {
            one.key: self._unclaimed_since[one.key]
            for one in present
            if one.key in self._unclaimed_since
        }

    def _due(self, present: Iterable[Attachment]) -> frozenset[AttachmentKey]:
        modes = {one.key: one.spec.mode for one in present}
        unheard = (key for key, mode in modes.items() if mode is Mode.IPVLAN)
        return self._looks.take_turn(tuple(modes), unheard=unheard)

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
            _log.info("reconcile.swept", operations=len(done))
        self._looks.learn(self._network.ground)
        for key in self._network.lost:
            self._looks.ask_pod(key)

    async def _release_if_forgotten(self, attachment: Attachment) -> None:
        owner = attachment.owner
        if owner in self._verbs.turns.busy or not self.is_attached(attachment.key):
            return
        if not self._is_forgotten(attachment):
            return
        try:
            await self._verbs.delete(owner, Stopwatch(self._now))
            _log.warning("reconcile.released", attachment=str(owner), pod=str(attachment.pod))
        except VpcError as error:
            _log.warning("reconcile.failed", attachment=str(owner), error=str(error))

    async def _look_into(self, keys: Iterable[AttachmentKey]) -> None:
        """Mend what is wrong in the pods' own namespaces; those that are worked on wait.

        Whoever works on one may have read what somebody has changed since.
        """
        for key in sorted(keys):
            attachment = self._pool.attachment(key)
            if attachment is None:
                continue
            if attachment.owner in self._verbs.turns.busy:
                self._looks.ask_pod(key)
                continue
            try:
                async with self._verbs.turns.turn(attachment.owner):
                    if self.is_attached(key):
                        await self._network.mend(attachment)
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
