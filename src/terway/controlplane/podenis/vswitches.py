"""How many addresses does each vSwitch have left, as far as we know?

What the cloud said is used for some time (`vSwitchCacheTTL`), and what we took since then is
subtracted; a vSwitch that refused has none until it is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from terway.controlplane.podenis.calls import Calls
from terway.model.eni import VSwitch
from terway.model.ids import VSwitchId, ZoneId
from terway.podeni.placing import Supply

FULL_S = 600.0  # how long a refusal counts
_UNKNOWN_S = 60.0  # how long one that does not exist is not asked for again


@dataclass(slots=True)
class _Known:
    vswitch: VSwitch | None
    until: float
    available: int


class VSwitches:
    """vSwitches by id. `clock` is monotonic seconds."""

    def __init__(self, calls: Calls, *, clock: Callable[[], float], ttl_s: float) -> None:
        self._calls = calls
        self._clock = clock
        self._ttl_s = ttl_s
        self._known: dict[VSwitchId, _Known] = {}
        self._asking = asyncio.Lock()  # who comes meanwhile finds the answer

    async def supplies(self, ids: Iterable[VSwitchId]) -> Mapping[VSwitchId, Supply]:
        """Return those of `ids` that exist, asking the cloud for what is not known any more."""
        wanted = tuple(dict.fromkeys(ids))
        async with self._asking:
            await self._refresh(wanted)
        known = ((one, self._known[one]) for one in wanted)
        return {
            one: Supply(vswitch=state.vswitch, available=state.available)
            for one, state in known
            if state.vswitch is not None
        }

    async def _refresh(self, wanted: tuple[VSwitchId, ...]) -> None:
        now = self._clock()
        stale = [one for one in wanted if not self._is_known(one, now)]
        found = {one.id: one for one in await self._calls.vswitches(stale)}
        for vswitch_id in stale:
            self._learn(vswitch_id, found.get(vswitch_id), now)

    def _is_known(self, vswitch_id: VSwitchId, now: float) -> bool:
        state = self._known.get(vswitch_id)
        return state is not None and now < state.until

    def _learn(self, vswitch_id: VSwitchId, found: VSwitch | None, now: float) -> None:
        if found is None:
            self._known[vswitch_id] = _Known(None, now + _UNKNOWN_S, 0)
        else:
            self._known[vswitch_id] = _Known(found, now + self._ttl_s, found.available_ip_count)

    def zones(self) -> Mapping[VSwitchId, ZoneId]:
        """Return where the vSwitches are that somebody asked for."""
        return {
            one: state.vswitch.zone_id
            for one, state in self._known.items()
            if state.vswitch is not None
        }

    def take(self, vswitch_id: VSwitchId) -> None:
        """Note that an address of it was taken."""
        state = self._known.get(vswitch_id)
        if state is not None:
            state.available = max(0, state.available - 1)

    def give(self, vswitch_id: VSwitchId) -> None:
        """Note that an address of it was given back."""
        state = self._known.get(vswitch_id)
        if state is not None:
            state.available += 1

    async def look_again(self, ids: Sequence[VSwitchId]) -> Mapping[VSwitchId, int]:
        """Return how many addresses these have, of which somebody waits for one."""
        for one in ids:
            self._known.pop(one, None)
        supplies = await self.supplies(ids)
        return {one: supply.available for one, supply in supplies.items()}

    def refuse(self, vswitch_id: VSwitchId) -> None:
        """Note that it had none left."""
        state = self._known.get(vswitch_id)
        if state is not None:
            state.available = 0
            state.until = self._clock() + min(FULL_S, self._ttl_s)
