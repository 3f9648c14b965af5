"""How are ENIs, whose state somebody waits for, looked at? Together, up to 100 in one call.

Few are looked at often, so that a pod does not wait longer than the cloud needs; many, seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from terway.controlplane.podenis.calls import Calls
from terway.model.eni import ENI
from terway.model.errors import VpcError
from terway.model.ids import ENIId

_IN_ONE_CALL = 100  # what DescribeNetworkInterfaces takes
_FEW = 20
_SOON_S, _LATER_S = 0.02, 1.0  # how long others may join


class Lookout:
    """Run `run()` beside the controllers; what is asked before waits for it."""

    def __init__(self, calls: Calls, *, soon_s: float = _SOON_S, later_s: float = _LATER_S) -> None:
        self._calls = calls
        self._soon_s = soon_s
        self._later_s = later_s
        self._asked: dict[ENIId, asyncio.Future[ENI | None]] = {}
        self._woken = asyncio.Event()

    async def look(self, eni_id: ENIId) -> ENI | None:
        """Return an ENI as the cloud has it now, None where there is none."""
        waiting = self._asked.get(eni_id)
        if waiting is None:
            waiting = self._asked[eni_id] = asyncio.get_running_loop().create_future()
            self._woken.set()
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(waiting)

    async def run(self) -> None:
        """Look for those who ask, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._woken.wait()
                await asyncio.sleep(self._soon_s if len(self._asked) <= _FEW else self._later_s)
                self._woken.clear()
                asked, self._asked = self._asked, {}
                ids = tuple(asked)
                for start in range(0, len(ids), _IN_ONE_CALL):
                    batch = {one: asked[one] for one in ids[start : start + _IN_ONE_CALL]}
                    tasks.create_task(self._answer(batch), name="look at ENIs")

    async def _answer(self, batch: dict[ENIId, asyncio.Future[ENI | None]]) -> None:
        try:
            found = {eni.id: eni for eni in await self._calls.describe(tuple(batch))}
        except VpcError as error:
            for waiting in batch.values():
                waiting.set_exception(error)
                waiting.exception()  # whoever asked may have given up
        else:
            for eni_id, waiting in batch.items():
                waiting.set_result(found.get(eni_id))


async def look_at(lookout: Lookout, eni_ids: Sequence[ENIId]) -> tuple[ENI, ...]:
    """Return those of `eni_ids` that exist."""
    found = await asyncio.gather(*(lookout.look(one) for one in eni_ids))
    return tuple(one for one in found if one is not None)
