"""How is a migration gone through? The cluster is read, one step is done, and it is read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from terway.cli.migrate_action import Action, Do, Goal
from terway.cli.migrate_cluster import Cluster
from terway.model.errors import ConflictError, TransientError, UsageError, VpcError

Next = Callable[[Cluster, Goal], Action | None]

_LOOK_EVERY_S = 1.0
_PATIENCE_S = 300.0  # with a cluster in which nothing moves


class Steps(Protocol):
    """Who does steps."""

    async def perform(self, action: Action) -> None:
        """Do one."""

    async def log_of(self, action: Action) -> str:
        """Return what the pod of a job wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the cluster is looked at, and how long it may stay as it is, in seconds."""

    look_every_s: float = _LOOK_EVERY_S
    patience_s: float = _PATIENCE_S


DEFAULT_PACE = Pace()


async def go_through(
    read: Callable[[], Awaitable[Cluster]],
    steps: Steps,
    next_of: Next,
    goal: Goal,
    *,
    told: Callable[[Action], None],
    pace: Pace = DEFAULT_PACE,
) -> tuple[Action, ...]:
    """Do what is left to do, and return it. `told` hears of each step once, before it is done.

    Raises TransientError when something is waited for and nothing moves, or a step has no effect;
    UsageError when a node cannot go back, each with its remedy. What was done until then stays, and
    is not done again.
    """
    done: list[Action] = []
    told_of, seen, since = "", Cluster(), 0.0
    while (action := next_of(now := await read(), goal)) is not None:
        if now != seen:  # as long as something moves, however slowly, it is waited for
            seen, since = now, time.monotonic()
        if action.text != told_of:
            told_of, since = action.text, time.monotonic()
            told(action)
        if action.do is Do.WAIT or action in done[-1:]:
            _check_patience(action, time.monotonic() - since, pace)
            await asyncio.sleep(pace.look_every_s)
        if action.do is not Do.WAIT:
            await _perform(steps, action)
            done.append(action)
    return tuple(done)


def _check_patience(action: Action, waited_s: float, pace: Pace) -> None:
    if waited_s > pace.patience_s:
        text = f"{action.text}: not within {pace.patience_s:.0f} s"
        raise TransientError(f"{text}. Look at: {action.remedy}. Then run this again")


async def _perform(steps: Steps, action: Action) -> None:
    if action.do is Do.REFUSE:
        said = await steps.log_of(action)
        await steps.perform(action)
        raise UsageError(f"{action.text}:\n{said}\n{action.remedy}", field=action.node)
    try:
        await steps.perform(action)
    except ConflictError:
        return  # somebody else changed it meanwhile: it is read again, and done again
    except VpcError as error:
        raise TransientError(f"{action.text}: {error}. {action.remedy}") from error
