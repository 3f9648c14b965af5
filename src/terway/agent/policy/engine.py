"""What keeps the packet filters of this node as the cluster's policies say, while all changes?

    View ──changes, folded──► Compiler ──Change──► Enforcer     one batch after the other, in
      ▲                                               │         a worker thread
    API, ADD, DEL            waiting ADDs ◄──in force─┘

What a terwayd before this one left in force stays so until all has been heard, then one switch puts
this one's in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from terway.agent.policy.enforcer import Enforcer, Place, SeatMap
from terway.agent.policy.seats import Seats
from terway.agent.policy.view import View
from terway.linux.workers import Workers
from terway.model.errors import VpcError
from terway.model.exposition import Histogram
from terway.policy.changes import ClusterChange, DropPolicy, SetPolicy
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled
from terway.policy.policies import PolicyKey

# What arrives within this time is one transaction; an ADD that waits is not kept waiting for it.
GATHER_S = 0.015
# What changes leave behind within this time is removed together.
TIDY_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_log = structlog.get_logger("policy")


class Compiler(Protocol):
    """`policy.compiling.compiler.Compiler`, for one node."""

    def apply(self, changes: Sequence[ClusterChange]) -> Change:
        """Take what happened; return what is to be changed."""

    def compiled(self) -> Compiled:
        """Return all that is to be enforced."""


@dataclass(slots=True)
class InForce:
    """What is known of what the filters have; `trouble` says why it is not all, if so."""

    generations: dict[PolicyKey, int] = field(default_factory=dict)
    trouble: str = "nothing was compiled yet"
    adoptions: int = 0
    changes: int = 0  # those that changed something
    commits: int = 0


class Engine:
    """The loop over one view, one compiler and the filters of one node.

    `now` is monotonic seconds. `on_commit` hears of each change that is in force, None for all.
    """

    def __init__(
        self,
        *,
        view: View,
        seats: Seats,
        compiler: Compiler,
        enforcer: Enforcer,
        workers: Workers,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_commit: Callable[[Change | None], None] = lambda change: None,
    ) -> None:
        self._view = view
        self._seats = seats
        self._compiler = compiler
        self._enforcer = enforcer
        self._workers = workers
        self._now = now
        self._sleep = sleep
        self.on_commit = on_commit
        self._waiters: list[asyncio.Future[None]] = []
        self._urgent = asyncio.Event()
        self._is_adopted = False
        self._seated: SeatMap = {}  # as the filters know it
        self._pause_s = _FIRST_PAUSE_S
        self._is_untidy = asyncio.Event()  # changes may have left something behind
        self._is_tidying = False
        self.turn = asyncio.Lock()  # held from the taking of a batch until it is in force
        self.begun = asyncio.Event()  # all that was heard at first is in force
        self.restored = asyncio.Event()  # the journal's attachments have been told
        self.state = InForce()
        self.enforcing = Histogram(
            name="terway_policy_enforce_seconds",
            text="seconds from hearing of a change until it was in force",
            buckets=_BUCKETS_S,
        )
        self.applying = Histogram(
            name="terway_policy_apply_seconds",
            text="seconds that a batch of changes took, by stage",
            buckets=_BUCKETS_S,
        )

    async def in_force(self) -> None:
        """Return when all that has been heard so far is in force."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._urgent.set()
        self._view.filled.set()
        await waiter

    def make_anew(self) -> None:
        """Have everything put in force again: somebody has changed what was."""
        self._is_adopted = False
        self._view.filled.set()

    @property
    def refused(self) -> Mapping[PodKey, str]:
        """Return the pods inside of which policies are not in force now, and why."""
        return self._enforcer.refused

    @property
    def notices(self) -> Mapping[PodKey, str]:
        """Return the pods that hold what is ours, and what was done about it."""
        return self._enforcer.notices

    async def renew(self, places: Collection[Place]) -> None:
        """Have what is in force put there again in some places, and nothing else touched.

        Where that fails at the node, everything is put in force again, as ever.
        """
        async with self.turn:
            if not self._is_adopted:
                return  # it is about to be
            compiled = await self.compiled()
            try:
                renew = partial(self._enforcer.renew, compiled, self._seated, places)
                await self._workers.run(renew)
            except VpcError as error:
                _log.error("policy.not_renewed", error=str(error))
                self.make_anew()

    @property
    def is_tidy(self) -> bool:
        """Return whether the filters have nothing that only waits to be removed."""
        return not (self._is_untidy.is_set() or self._is_tidying)

    async def run(self) -> None:
        """Keep the filters up to date until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="policy changes")
            tasks.create_task(self._keep_tidy(), name="policy leftovers")

    async def _follow(self) -> None:
        await self.restored.wait()
        await self._view.synced()
        self._view.filled.set()
        while True:
            await self._view.filled.wait()
            await self._gather()
            try:
                await self._step()
            except VpcError as error:
                await self._failed(error)

    async def _keep_tidy(self) -> None:
        """Remove what changes leave behind, some of it at once: nobody waits for that."""
        while True:
            await self._is_untidy.wait()
            await self._sleep(TIDY_S)
            self._is_tidying = True
            try:
                await self._tidy()
            except VpcError as error:
                _log.warning("policy.not_tidied", error=str(error))
                self.make_anew()
            finally:
                self._is_tidying = False

    async def _tidy(self) -> None:
        async with self.turn:
            self._is_untidy.clear()
            is_untidy = self._enforcer.set_aside()
        if not is_untidy:
            return
        await self._workers.run(self._enforcer.let_out)
        async with self.turn:
            await self._workers.run(self._enforcer.clear_away)

    async def _gather(self) -> None:
        if not self._is_adopted:
            return
        try:
            async with asyncio.timeout(GATHER_S):
                await self._urgent.wait()
        except TimeoutError:
            pass

    async def _failed(self, error: VpcError) -> None:
        """Take all anew after a while: what the filters have now is not known for sure."""
        self._is_adopted = False
        self.state.trouble = str(error)
        _log.error("policy.not_in_force", error=str(error), retry_in_s=self._pause_s)
        await self._sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._view.filled.set()

    async def _step(self) -> None:
        """Take what is waiting, and have it in force."""
        async with self.turn:
            self._urgent.clear()
            waiters, self._waiters = self._waiters, []
            changes, since = self._view.take()
            try:
                change = await self._compile(changes)
                await self._put_in_force(change)
            except BaseException:
                self._waiters += waiters
                raise
            self._commit(changes, since, change)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def compiled(self) -> Compiled:
        """Return all that is in force, for who has the turn."""
        return await self._workers.run(self._compiler.compiled)

    async def _compile(self, changes: Sequence[ClusterChange]) -> Change:
        began_at = self._now()
        change = await self._workers.run(partial(self._compiler.apply, changes))
        self._observe("compile", began_at)
        return change

    async def _put_in_force(self, change: Change) -> None:
        seats = self._seats.snapshot()
        began_at = self._now()
        if self._is_adopted:
            if change or seats != self._seated:
                await self._workers.run(partial(self._enforcer.apply, change, seats))
                self._observe("apply", began_at)
                self._is_untidy.set()
                self.on_commit(change)
        else:
            compiled = await self.compiled()
            await self._workers.run(partial(self._enforcer.adopt, compiled, seats))
            self._observe("adopt", began_at)
            self._is_untidy.set()
            self.on_commit(None)
            self.state.adoptions += 1
            _log.info("policy.adopted", rule_sets=len(compiled.rule_sets), pods=len(compiled.sides))
        self._is_adopted, self._seated = True, seats

    def _observe(self, stage: str, began_at: float) -> None:
        self.applying.observe((("stage", stage),), self._now() - began_at)

    def _commit(self, changes: Sequence[ClusterChange], since: float, change: Change) -> None:
        self.begun.set()
        self.state.trouble = ""
        self.state.changes += bool(change)
        self.state.commits += 1
        self._pause_s = _FIRST_PAUSE_S
        for one in changes:
            if isinstance(one, SetPolicy):
                self.state.generations[one.policy.key] = one.policy.generation
            elif isinstance(one, DropPolicy):
                self.state.generations.pop(one.key, None)
        if changes:
            self.enforcing.observe((), self._now() - since)
