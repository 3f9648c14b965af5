"""How are several things waited for at once, where the first failure is the failure of all?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(waits: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Return the results in the order of `waits`; if one fails, cancel the rest, raise its error.

    As a TaskGroup, but with the error itself: callers tell errors apart by their class.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            begun = [tasks.create_task(one) for one in waits]
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    return [one.result() for one in begun]
