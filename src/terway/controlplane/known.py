"""Which PodNetworkings are there, for the webhook's configuration, and when does that change?"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from terway.config.findings import ConfigError
from terway.controlplane.announced import Announced
from terway.controlplane.informers import SharedInformers
from terway.controlplane.podenis.world import read_networking
from terway.kube import crds
from terway.kube.informer import Changes
from terway.model.pod_network import PodNetworking


class KnownNetworkings:
    """PodNetworkings as they are in memory. All of them count, Ready or not."""

    def __init__(self, informers: SharedInformers, announced: Announced) -> None:
        self._informer = informers.of(crds.POD_NETWORKINGS)
        self._announced = announced
        announced.expect()

    def subscribe(self) -> AbstractContextManager[Changes[crds.PodNetworking]]:
        """Give what changes, for the block."""
        return self._informer.subscribe()

    async def listed(self) -> None:
        """Return once they are known: what is not known yet must not look like none."""
        await self._informer.synced.wait()

    def now(self) -> tuple[PodNetworking, ...]:
        """Return them; one that cannot be read is as one that selects nobody."""
        return tuple(map(_read, self._informer.objects.values()))

    def tell(self, known: Iterable[PodNetworking]) -> None:
        """Say that the API server knows of these."""
        self._announced.tell(one.name for one in known)


def _read(found: crds.PodNetworking) -> PodNetworking:
    try:
        return read_networking(found)
    except ConfigError:
        return PodNetworking(name=found.metadata.name)
