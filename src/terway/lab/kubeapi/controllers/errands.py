"""What becomes of a controller's writes that webhooks must see first?

They wait beside the loop, so that a slow webhook holds up nobody else. Their controller does not
look again until all are through: it would want them a second time. After a refusal the same owner
tries again later and later, as the work queues of the real controllers do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable

from terway.lab.kubeapi.controllers.actions import Action, Create, apply_reviewed, written_by
from terway.lab.kubeapi.objects import uid_of
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.webhooks.hooks import has_hooks_for

_AT_ONCE = 16
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0


class Errands:
    """The writes under way, by the controller that wants them."""

    def __init__(
        self, state: ClusterState, tasks: asyncio.TaskGroup, when_done: Callable[[], None]
    ) -> None:
        self._state = state
        self._tasks = tasks
        self._when_done = when_done
        self._under_way: Counter[Hashable] = Counter()
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    def is_busy(self, controller: Hashable) -> bool:
        """Say whether writes of the controller are under way."""
        return self._under_way[controller] > 0

    def take(self, controller: Hashable, action: Action) -> bool:
        """Take over an action that webhooks must see; say whether it was one."""
        write = written_by(action)
        if write is None or not has_hooks_for(self._state.store, self._state.table, *write):
            return False
        owner = _owner(action)
        if asyncio.get_running_loop().time() >= self._not_before.get(owner, 0.0):
            self._under_way[controller] += 1
            self._tasks.create_task(self._carry_out(controller, action, owner))
        return True

    async def _carry_out(self, controller: Hashable, action: Action, owner: str) -> None:
        try:
            async with self._room:
                went_well = await apply_reviewed(self._state, action)
            self._note(owner, went_well=went_well)
        finally:
            self._under_way[controller] -= 1
            self._when_done()

    def _note(self, owner: str, *, went_well: bool) -> None:
        if went_well or not owner:
            self._failures.pop(owner, None)
            self._not_before.pop(owner, None)
            return
        wait_s = min(_FIRST_WAIT_S * 2 ** self._failures[owner], _LONGEST_WAIT_S)
        self._failures[owner] += 1
        self._not_before[owner] = asyncio.get_running_loop().time() + wait_s


def _owner(action: Action) -> str:
    """Return whose back-off counts: that of the workload that makes pods."""
    if isinstance(action, Create) and action.tell is not None:
        return uid_of(action.tell.object)
    return ""
