"""Is what we believe of all nodes still so? One reading of the whole VPC, now and then.

The pools that it contradicts hear of it; what nobody owns is collected. 5,000 nodes with 15,000
ENIs are 30 calls. Under degradation nothing is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from terway.controlplane.pools.believed import NodePool
from terway.controlplane.pools.gone import Gone
from terway.controlplane.pools.readings import Fleet, SharedReadings
from terway.controlplane.pools.rounds import PoolController
from terway.controlplane.pools.settings import Degradation
from terway.ipam.adopt import is_managed
from terway.ipam.events import Observed
from terway.ipam.pool import Pool
from terway.ipam.values import ENIPhase, PoolENI
from terway.model.eni import ENI
from terway.model.errors import VpcError
from terway.model.ids import ENIId

EVERY_S = 600.0
_LOOK_EVERY_S = 10.0  # at the degradation, which may change at any moment
_AT_A_STRETCH = 200  # nodes, before others have the loop

_log = structlog.get_logger("pools")


class FleetSync:
    """Reads the VPC every `every_s` seconds."""

    def __init__(
        self,
        pools: PoolController,
        readings: SharedReadings,
        gone: Gone,
        *,
        degradation: Callable[[], Degradation],
        clock: Callable[[], float],
        every_s: float = EVERY_S,
    ) -> None:
        self._pools = pools
        self._readings = readings
        self._gone = gone
        self._degradation = degradation
        self._clock = clock
        self._every_s = every_s

    async def run(self) -> None:
        """Do so until cancelled; a level of degradation that changes is passed on at once."""
        level, due_at = self._degradation(), self._clock() + self._every_s
        moments = self._pools.moments
        moments.spread_s = self._every_s / 2
        while True:
            moments.reads_at = due_at if level.may_shrink else None
            await asyncio.sleep(min(_LOOK_EVERY_S, self._every_s))
            if self._degradation() != level:
                level = self._degradation()
                _log.warning("pools.degradation", level=level.level or "none")
                self._pools.wake_all()
            if level.may_shrink and self._clock() >= due_at:
                due_at = self._clock() + self._every_s
                await self._sync()

    async def _sync(self) -> None:
        try:
            fleet = await self._readings.read_all()
            deleted = await self._gone.collect(fleet)
        except VpcError as error:
            _log.warning("pools.not_synced", error=str(error))
            return
        told = 0
        for number, (name, one) in enumerate(tuple(self._pools.pools.items())):
            told += self._compare(name, one, fleet)
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        took_s = self._clock() - fleet.asked_at
        _log.info("pools.synced", differ=told, deleted=deleted, took_s=round(took_s, 1))

    def _compare(self, name: str, one: NodePool, fleet: Fleet) -> bool:
        one.synced_at = fleet.asked_at
        attached, made = fleet.of(one.pool.config.instance_id)
        if agrees(one.pool, attached, made):
            return False
        event = Observed(asked_at=fleet.asked_at, attached=attached, detached=made)
        self._pools.tell(name, one, event)
        return True


def agrees(pool: Pool, attached: Sequence[ENI], made: Sequence[ENI]) -> bool:
    """Return whether a reading says of a node what its pool believes.

    ENIs whose life is at a turn are left to that; they are read again.
    """
    shown = {eni.id: eni for eni in attached if is_managed(pool.config, eni)}
    if any(eni_id not in pool.enis for eni_id in (*shown, *(eni.id for eni in made))):
        return False
    ours = _addresses(pool)
    return all(
        _is_as_shown(eni, shown.get(eni.id), ours[eni.id])
        for eni in pool.enis.values()
        if eni.phase is ENIPhase.IN_USE
    )


def _addresses(pool: Pool) -> Mapping[ENIId, set[object]]:
    found: dict[ENIId, set[object]] = {eni_id: set() for eni_id in pool.enis}
    for slot in pool.slots.values():
        if slot.prefix is None and not slot.is_missing:
            found[slot.eni_id].add(slot.address)
    for prefix in pool.prefixes.values():
        found[prefix.eni_id].add(prefix.network)
    return found


def _is_as_shown(ours: PoolENI, shown: ENI | None, things: set[object]) -> bool:
    if shown is None:
        return ours.is_gone
    there = {*shown.ipv4, *shown.ipv6, *shown.ipv4_prefixes, *shown.ipv6_prefixes}
    groups = set(shown.security_group_ids) == set(ours.security_group_ids)
    # Of a family that the node does not use there may be more.
    return groups and things <= there and len(things) >= len(shown.ipv4)
