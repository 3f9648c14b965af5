"""What runs? Controllers over shared informers, each with its queue and so many keys at a time.

    informer ──change──► keys_of, of each controller that watches ──► its queue
                                       turn ──► reconcile ──► done, again later, or failed

A VpcError of a round is waited out, longer each time, and logged when it is another than before.
Any other error is a bug: it ends everything, because half a control plane looks like a whole one.
On which clock this runs is the event loop's business: nothing here asks for another time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any

import structlog

from terway.controlplane.controller import Companion, Controller, Outcome, Watch
from terway.controlplane.informers import Asked, SharedInformers
from terway.controlplane.metrics import ControllerMetrics, gauge
from terway.controlplane.queue import Turn, WorkQueue
from terway.kube.informer import Change, Informer
from terway.kube.resource import ObjectKey, Resource
from terway.model.errors import BugError, ConflictError, VpcError
from terway.model.exposition import Gauge, Labels

_log = structlog.get_logger("controllers")

_AT_A_STRETCH = 500  # changes, before others have the loop: a first list has 100,000
_ON_TIME_S = 1e-6  # an alarm that is early by the clock's rounding is on time
_REQUEST_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a failing key waits, in seconds: at first, and at most."""

    initial_s: float = 1.0
    maximum_s: float = 300.0


class Worker:
    """One controller, its queue, and the rounds that are under way."""

    def __init__(
        self, controller: Controller, *, rng: Random, metrics: ControllerMetrics, waits: Waits
    ) -> None:
        self.name = controller.name
        self._controller = controller
        self._metrics = metrics
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            rng=rng, initial_s=waits.initial_s, maximum_s=waits.maximum_s
        )
        self._woken = asyncio.Event()
        self._said: dict[ObjectKey, str] = {}  # the failure that was logged last
        self._since: dict[ObjectKey, float] = {}  # of the rounds that are under way

    @property
    def concurrency(self) -> int:
        """Return how many keys are worked on at a time, at most."""
        return self._controller.concurrency

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Return whose changes wake which keys."""
        return self._controller.watches

    def wake(self, watch: Watch, change: Change[Any]) -> None:
        """Have those looked at whom `change` concerns."""
        urgent = watch.is_urgent(change)
        for key in watch.keys_of(change):
            self._queue.add(key, now=_now(), urgent=urgent)
        self._woken.set()

    def add(self, key: ObjectKey) -> None:
        """Have `key` looked at: what its controller waited for has happened."""
        self._queue.add(key, now=_now())
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled, or until a round ends with a bug."""
        async with asyncio.TaskGroup() as rounds:
            if isinstance(self._controller, Companion):
                name = f"{self.name} companion"
                rounds.create_task(self._controller.run(self.add), name=name)
            while True:
                self._woken.clear()
                for turn in self._turns():
                    rounds.create_task(self._round(turn), name=f"{self.name} {turn.key}")
                await self._wait()

    def _turns(self) -> Iterator[Turn[ObjectKey]]:
        while self._has_room():
            turn = self._queue.take(now=_now() + _ON_TIME_S)
            if turn is None:
                return
            yield turn

    def _has_room(self) -> bool:
        return self._queue.working < self._controller.concurrency

    async def _wait(self) -> None:
        """Return when a key was added, a round is over, or a delayed key is due."""
        due_at = self._queue.next_at() if self._has_room() else None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due_at):
                await self._woken.wait()

    async def _round(self, turn: Turn[ObjectKey]) -> None:
        key, began = turn.key, _now()
        self._metrics.observe_turn(self.name, turn.waited_s)
        self._since[key] = began
        try:
            outcome = await self._controller.reconcile(key)
        except BugError:
            raise
        except VpcError as error:
            self._failed(key, error)
            result = "error"
        else:
            self._done(key, outcome)
            result = "success" if outcome.again_in_s is None else "requeue_after"
        finally:
            del self._since[key]
        self._metrics.observe_round(self.name, result=result, took_s=_now() - began)
        self._woken.set()

    def _done(self, key: ObjectKey, outcome: Outcome) -> None:
        self._queue.done(key, now=_now(), again_in_s=outcome.again_in_s)
        if self._said.pop(key, None) is not None:
            _log.info("controller.recovered", controller=self.name, key=str(key))

    def _failed(self, key: ObjectKey, error: VpcError) -> None:
        asked_s = getattr(error, "retry_after_s", 0.0)  # of CapacityError and ThrottledError
        wait_s = self._queue.failed(key, now=_now(), retry_after_s=asked_s)
        self._metrics.observe_error(self.name, type(error).__name__)
        text = _REQUEST_ID.sub("…", str(error))  # each answer of the cloud has its own
        if self._said.get(key) == text:
            return
        self._said[key] = text
        # Somebody was faster: that is how it is among many, and the next round knows.
        tell = _log.info if isinstance(error, ConflictError) else _log.warning
        tell(
            "controller.round_failed",
            controller=self.name,
            key=str(key),
            error=str(error),
            kind=type(error).__name__,
            retry_in_s=round(wait_s, 3),
        )

    def gauges(self) -> Iterator[tuple[str, float]]:
        """Yield how the queue is now, by the names that `gauges_of` describes."""
        queue = self._queue
        longest_s = max((_now() - since for since in self._since.values()), default=0.0)
        yield "workqueue_depth", queue.depth
        yield "workqueue_delayed", queue.delayed
        yield "workqueue_failing", queue.failing
        yield "workqueue_longest_running_processor_seconds", longest_s
        yield "controller_runtime_active_workers", queue.working
        yield "controller_runtime_max_concurrent_reconciles", self._controller.concurrency


_GAUGES = {
    "workqueue_depth": "keys that are ready",
    "workqueue_delayed": "keys that wait for a moment of their own",
    "workqueue_failing": "keys whose last round failed",
    "workqueue_longest_running_processor_seconds": "age of the oldest round that is under way",
    "controller_runtime_active_workers": "rounds under way",
    "controller_runtime_max_concurrent_reconciles": "rounds at a time, at most",
}


def gauges_of(workers: Sequence[Worker]) -> Iterator[Gauge]:
    """Yield the queues of `workers` for the exposition."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {name: {} for name in _GAUGES}
    for worker in workers:
        for name, value in worker.gauges():
            found[name][("controller", worker.name),] = value
    yield from (gauge(name, _GAUGES[name], values) for name, values in found.items())
    yield gauge(
        "terway_controlplane_config_info", "rounds at a time, by controller", _told(workers)
    )


def _told(workers: Iterable[Worker]) -> dict[Labels, float]:
    """Return what upstream's dashboards read of labels."""
    return {
        (("controller", one.name), ("max_concurrent", str(one.concurrency))): 1.0 for one in workers
    }


async def run_controllers(
    controllers: Sequence[Controller],
    informers: SharedInformers,
    *,
    rng: Random,
    metrics: ControllerMetrics | None = None,
    waits: Waits = Waits(),
    started: Callable[[Sequence[Worker]], None] = lambda workers: None,
    reads: Mapping[str, Asked] = MappingProxyType({}),
) -> None:
    """Run `controllers` until cancelled. `informers` must be running, or begin to, beside this.

    No round of a controller begins before all that it reads has been listed: `reads` says what, by
    name; of who is not there, all that `informers` were asked for. `started` is told then, of those
    who read the same together. Any error but a VpcError of a round, and BugError too, ends it.
    """
    metrics = metrics or ControllerMetrics()
    workers = [Worker(one, rng=rng, metrics=metrics, waits=waits) for one in controllers]
    groups: dict[Asked | SharedInformers, list[Worker]] = {}
    for worker in workers:
        groups.setdefault(reads.get(worker.name, informers), []).append(worker)
    async with asyncio.TaskGroup() as tasks:
        for needed, group in groups.items():
            names = ", ".join(one.name for one in group)
            tasks.create_task(_run_group(group, informers, needed, started), name=names)


async def _run_group(
    workers: Sequence[Worker],
    informers: SharedInformers,
    needed: Asked | SharedInformers,
    started: Callable[[Sequence[Worker]], None],
) -> None:
    wakes = _wakes_of(workers)
    followed = {resource: informers.of(resource) for resource in wakes}
    await needed.synced()
    async with asyncio.TaskGroup() as tasks:
        for resource, informer in followed.items():
            tasks.create_task(_follow(informer, wakes[resource]), name=f"follow {resource.plural}")
        for worker in workers:
            tasks.create_task(worker.run(), name=worker.name)
        started(workers)


_Wake = Callable[[Change[Any]], None]


def _wakes_of(workers: Iterable[Worker]) -> dict[Resource[Any], list[_Wake]]:
    wakes: dict[Resource[Any], list[_Wake]] = {}
    for worker in workers:
        for watch in worker.watches:
            wakes.setdefault(watch.resource, []).append(_wake_of(worker, watch))
    return wakes


def _wake_of(worker: Worker, watch: Watch) -> _Wake:
    return lambda change: worker.wake(watch, change)


async def _follow(informer: Informer[Any], wakes: Sequence[_Wake]) -> None:
    # One subscription for a group: what is not taken yet of 100,000 pods is held once.
    with informer.subscribe() as changes:
        taken = 0
        async for change in changes:
            for wake in wakes:
                wake(change)
            taken += 1
            if taken % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)


def _now() -> float:
    return asyncio.get_running_loop().time()
