"""Which ENIs of ours are left over in the cloud, and how do they go? Looked for now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.reading import addresses_of, record_of
from terway.controlplane.podenis.strays import Strays
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS
from terway.model.errors import VpcError
from terway.model.ids import ENIId
from terway.podeni.garbage import (
    CLUSTER_TAG,
    CREATOR,
    CREATOR_TAG,
    Garbage,
    find_garbage,
)

EVERY_S = 600.0
_log = structlog.get_logger("podenis")


class Sweep:
    """Collects ENIs that nobody owns. `clock` is seconds since the epoch; one round at a time."""

    def __init__(
        self,
        informers: Informers,
        calls: Calls,
        strays: Strays,
        *,
        cluster_id: str,
        clock: Callable[[], float],
        every_s: float = EVERY_S,
    ) -> None:
        self._records = informers.of(POD_ENIS)
        self._interfaces = informers.of(NETWORK_INTERFACES)
        self._pods = informers.of(WATCHED_PODS)
        self._calls = calls
        self._strays = strays
        self._tags = ((CLUSTER_TAG, cluster_id), (CREATOR_TAG, CREATOR))
        self._clock = clock
        self._every_s = every_s

    async def run(self) -> None:
        """Look every ten minutes, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except VpcError as error:
                _log.warning("podenis.sweep_failed", error=str(error))

    async def look(self) -> tuple[Garbage, ...]:
        """Begin to remove what nobody owns, and return it; what is attached goes next time."""
        enis = await self._calls.list_tagged(self._tags)
        # Only now: what was recorded while the cloud answered is owned.
        records = [record_of(one) for one in self._records.objects.values()]
        owned = {ENIId(key.name) for key in self._interfaces.objects}
        owned.update(eni_id for one in records for eni_id in one.eni_ids)
        creating = {
            one.metadata.uid for one in self._records.objects.values() if record_of(one).missing
        }
        addresses = {ip for pod in self._pods.objects.values() for ip in addresses_of(pod)}
        found = find_garbage(
            enis, owned=owned, creating=creating, now=self._clock(), addresses=addresses
        )
        for one in found:
            await self._remove(one)
        await self._strays.look(enis)
        return found

    async def _remove(self, one: Garbage) -> None:
        _log.info("podenis.eni_without_owner", eni_id=one.eni_id, is_attached=one.place is not None)
        try:
            if one.place is not None:
                await self._calls.detach(one.eni_id, one.place)
            else:
                await self._calls.delete(one.eni_id)
        except VpcError as error:
            _log.warning("podenis.eni_not_removed", eni_id=one.eni_id, error=str(error))
