"""A lab of the test's own process, as a runner of policy cases asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from terway.lab.policy.places import describe_places
from terway.lab.policy.session import CaseMode
from terway.lab.policy.stage import Stage
from terway.lab.policy.world import LabWorld
from terway.lab.world.lab import Lab
from terway.lab.world.outside import open_outside
from terway.lab.world.report import describe


class Asked:
    """The answers that cases need, from another thread than the lab's."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._loop = asyncio.get_running_loop()

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Have the lab's own thread answer."""
        return asyncio.run_coroutine_threadsafe(self._answer(path, body), self._loop).result()

    async def _answer(self, path: str, body: Any) -> dict[str, Any]:
        match path:
            case "/places":
                return await describe_places(self._lab, body["pods"])
            case "/outside":
                return {"netns": await open_outside(self._lab)}
            case "/status":
                return await describe(self._lab)
            case _:
                raise AssertionError(f"a case asks for {path}")


@asynccontextmanager
async def stage_in(lab: Lab, mode: CaseMode) -> AsyncIterator[Stage]:
    """Show cases in a lab that other tests use, too, and that has no policies now."""
    stage = Stage(
        LabWorld(Asked(lab)),
        lab.kube,
        is_exclusive=mode.is_exclusive,
        has_members=mode.has_members,
        leads_services=True,
        family=None,
        progress=print,
    )
    await stage.open()
    try:
        yield stage
    finally:
        await stage.close()
