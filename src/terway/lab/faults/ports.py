"""The outside of one terwayd: each call takes its time, may be its last, and may fail.

What the calls do is done by the emulated cloud, the memory kernel and the memory store; here is
only what stands between them and a process that can be killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Never, TypeVar

from terway.cloud.openapi import CALL_TIMEOUT_S, Product
from terway.cloud.query import Value
from terway.lab.cloud.inprocess import InProcessCaller
from terway.lab.faults.events import Kill
from terway.lab.faults.life import Life
from terway.linux.memory import MemoryKernel
from terway.model.errors import BugError, TransientError
from terway.model.ids import MacAddress
from terway.model.network import Link
from terway.store.memory import Disk, apply_batch
from terway.store.records import Batch, Journal, StoreError

Answer = TypeVar("Answer")
CLOUD_S = 0.03  # from the node to the cloud, or back
KERNEL_S = 0.0005
FLUSH_S = 0.002
_LINK_POLL_S = 0.1


@dataclass(slots=True, kw_only=True)
class DiskHabits:
    """How the node's disk is at the moment."""

    delay_s: float = FLUSH_S
    failures: int = 0  # writes that will fail


class LivingStore:
    """The journal of one life. A write that was not flushed when it ended never was."""

    def __init__(self, disk: Disk, habits: DiskHabits, life: Life) -> None:
        self._disk = disk
        self._habits = habits
        self._life = life
        self._queue: list[tuple[Batch, asyncio.Future[None]]] = []
        self._is_flushing = False

    def write(self, batch: Batch) -> Awaitable[None]:
        """Queue `batch`; as the real store, what is queued meanwhile shares the next flush."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._life.is_over:
            return done
        self._queue.append((batch, done))
        if not self._is_flushing:
            self._begin()
        return done

    async def load(self) -> Journal:
        """Return everything that is on the disk."""
        self._life.go_on()
        return self._disk.journal()

    def _begin(self) -> None:
        jobs, self._queue = self._queue, []
        self._is_flushing = bool(jobs)
        if jobs:
            asyncio.get_running_loop().call_later(self._habits.delay_s, self._flush, jobs)

    def _flush(self, jobs: list[tuple[Batch, asyncio.Future[None]]]) -> None:
        try:
            kill = self._life.enter()
            self._apply(jobs)
            self._life.leave(kill)
        except asyncio.CancelledError:
            return
        self._begin()

    def _apply(self, jobs: list[tuple[Batch, asyncio.Future[None]]]) -> None:
        fails = self._habits.failures > 0
        self._habits.failures -= fails
        for batch, done in jobs:
            error = (
                StoreError("journal: no space left") if fails else apply_batch(self._disk, batch)
            )
            if done.cancelled():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


@dataclass(slots=True)
class Reach:
    """Whether a node reaches the cloud and the API server at the moment. `cuts` in force count."""

    cuts: int = 0

    @property
    def is_cut(self) -> bool:
        """Return whether packets between the node and all others are lost."""
        return self.cuts > 0


class LivingCaller:
    """The cloud, as one life reaches it: over a network, with the client's patience."""

    def __init__(self, caller: InProcessCaller, life: Life, reach: Reach) -> None:
        self._caller = caller
        self._life = life
        self._reach = reach

    async def call(
        self,
        product: Product,
        action: str,
        parameters: Mapping[str, Value],
        answer: type[Answer],
    ) -> Answer:
        """Perform a call; errors as over HTTP."""
        await asyncio.sleep(CLOUD_S)
        await self._arrive(action)
        kill = self._life.enter()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                found = await self._caller.call(product, action, parameters, answer)
        except TimeoutError as error:
            raise TransientError(f"{action}: no answer in {CALL_TIMEOUT_S:g} s") from error
        finally:
            self._life.leave(kill)
        await asyncio.sleep(CLOUD_S)
        await self._arrive(action)
        self._life.go_on()
        return found

    async def _arrive(self, action: str) -> None:
        """Return if a packet gets through; what does not is waited for in vain."""
        if self._reach.is_cut:
            await asyncio.sleep(CALL_TIMEOUT_S)
            self._life.go_on()
            raise TransientError(f"{action}: no answer in {CALL_TIMEOUT_S:g} s")


class LivingKernel:
    """The node's kernel, as one life reaches it. Whatever the memory kernel can, this can."""

    def __init__(self, kernel: MemoryKernel, life: Life) -> None:
        self._kernel = kernel
        self._life = life
        self._half: Mapping[str, Callable[..., Awaitable[Any]]] = {
            "apply": self._apply_half,
            "apply_and_read": self._apply_half,
        }

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._kernel, name)
        if not iscoroutinefunction(method):
            return method

        async def visit(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(KERNEL_S)
            kill = self._life.enter()
            if kill is not None and kill.when == "during" and name in self._half:
                await self._half[name](*args, kill=kill)
            found = await method(*args, **kwargs)
            self._life.leave(kill)
            return found

        setattr(self, name, visit)
        return visit

    async def link_by_mac(self, mac: MacAddress, *, timeout_s: float = 10.0) -> Link:
        """Return the link with `mac`, waiting for it to be plugged in."""
        for _ in range(int(timeout_s / _LINK_POLL_S)):
            link: Link | None = await self.find_link(mac)
            if link is not None:
                return link
            await asyncio.sleep(_LINK_POLL_S)
        raise TransientError(f"no link has MAC {mac} after {timeout_s:g} s", code="ENODEV")

    def open_bell(self) -> Never:
        """Have no bell: no packets, and so none that is not the sender's."""
        raise BugError("nobody watches for spoofed packets where there are none")

    async def _apply_half(self, operations: Sequence[Any], *_: Any, kill: Kill) -> None:
        await self._kernel.apply(operations[: len(operations) // 2])
        self._life.leave(kill)
