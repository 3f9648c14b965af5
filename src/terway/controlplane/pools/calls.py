"""Who makes the calls that pools ask for? Side by side, each in its turn by the one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from terway.controlplane.budget import Turns
from terway.controlplane.pools.ports import Readings
from terway.ipam.commands import (
    CloudCommand,
    FlushConntrack,
    Observe,
    ObserveVSwitches,
    WaitLink,
)
from terway.ipam.events import (
    Event,
    Failed,
    LinkReady,
    Observed,
    VSwitchesObserved,
)
from terway.ipam.failure import classify
from terway.ipam.issue import action_of
from terway.ipam.settings import PoolConfig
from terway.model.errors import BugError, ThrottledError, VpcError
from terway.pooling.calls import Change, CloudCalls
from terway.pooling.ports import CloudPort

_log = structlog.get_logger("pools")
Answered = Callable[[Event], None]


class Desk:
    """Carries out commands as tasks of `tasks`, which is a task group that outlives them."""

    def __init__(
        self,
        cloud: CloudPort,
        readings: Readings,
        budget: Turns,
        *,
        clock: Callable[[], float],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._cloud = cloud
        self._readings = readings
        self._budget = budget
        self._clock = clock
        self._tasks = tasks

    def begin(
        self, config: PoolConfig, command: CloudCommand, *, newest: float, answered: Answered
    ) -> None:
        """Carry out `command` some time, and tell `answered` the event that it ends in."""
        name = f"{config.instance_id} {type(command).__name__}"
        self._tasks.create_task(self._perform(config, command, newest, answered), name=name)

    async def _perform(
        self, config: PoolConfig, command: CloudCommand, newest: float, answered: Answered
    ) -> None:
        try:
            event = await self._carry_out(config, command, newest)
        except VpcError as error:
            event = Failed(command=command, failure=classify(error))
            _log.info(
                "pools.call_failed",
                instance=config.instance_id,
                command=type(command).__name__,
                error=str(error),
            )
        answered(event)

    async def _carry_out(self, config: PoolConfig, command: CloudCommand, newest: float) -> Event:
        match command:
            case WaitLink(eni_id=eni_id):
                await self._readings.attached(eni_id, who=config.instance_id)
                return LinkReady(eni_id=eni_id)
            case Observe():
                asked_at = self._clock()
                attached, detached = await self._readings.enis_of(config.instance_id)
                return Observed(asked_at=asked_at, attached=attached, detached=detached)
            case ObserveVSwitches(ids=ids):
                return VSwitchesObserved(vswitches=await self._readings.vswitches(ids))
            case FlushConntrack():
                raise BugError("the kernel that knows connections is not here")
            case _:
                return await self._change(config, command, newest)

    async def _change(self, config: PoolConfig, command: Change, newest: float) -> Event:
        action = action_of(command)
        await self._budget.take(action, who=config.instance_id, newest=newest)
        calls = CloudCalls(config, self._cloud, self._clock)
        try:
            event = await calls.carry_out(command)
        except ThrottledError as error:
            self._budget.throttled(action, error.retry_after_s)
            raise
        self._budget.answered(action)
        return event
