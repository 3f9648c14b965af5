"""Which ENIs has a pod that runs, when no PodENI says so? And which is of which interface?

Those that were made together are the pod's if it has an address of one of them: by the reference in
their NetworkInterfaces, and by their tag at the cloud, where these are gone, too. Of a pod that has
not told an address yet the tags say what was made for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.words import name_of, networks_of
from terway.controlplane.podenis.writes import INTERFACE
from terway.kube.crds import NETWORK_INTERFACES, NetworkInterface, PodENI
from terway.kube.resource import ObjectKey
from terway.model.eni import ENI
from terway.model.ids import ENIId
from terway.model.pod_network import PRIMARY_INTERFACE
from terway.podeni.garbage import (
    CLUSTER_TAG,
    CREATOR,
    CREATOR_TAG,
    INTERFACE_TAG,
    addresses_of_eni,
    made_for,
    made_with,
)

_FRESH_S = 30.0  # many pods may ask at once, and a list is a call for each 100 ENIs


class Remains:
    """Finds them. `clock` is seconds since the epoch."""

    def __init__(
        self, informers: Informers, calls: Calls, *, cluster_id: str, clock: Callable[[], float]
    ) -> None:
        self._interfaces = informers.of(NETWORK_INTERFACES)
        self._calls = calls
        self._tags = ((CLUSTER_TAG, cluster_id), (CREATOR_TAG, CREATOR))
        self._clock = clock
        self._one_asks = asyncio.Lock()
        self._listed: tuple[ENI, ...] = ()
        self._listed_at: float | None = None

    async def made_for(self, pod_uid: str) -> tuple[ENIId, ...]:
        """Return what was made for a pod; where it is, is not asked."""
        return made_for(await self._list(), pod_uid)

    async def of(self, key: ObjectKey, addresses: Collection[str]) -> tuple[ENIId, ...]:
        """Return what a pod with these addresses may have; where they are, is not asked."""
        named = tuple(self._named(key))
        uids = {uid_of(one) for one in named if not addresses_in(one).isdisjoint(addresses)}
        if uids:
            return tuple(ENIId(one.metadata.name) for one in named if uid_of(one) in uids)
        return made_with(await self._list(), addresses)

    def _named(self, key: ObjectKey) -> Iterator[NetworkInterface]:
        for one in self._interfaces.objects.values():
            reference = one.spec.pod_eni_ref
            if reference and (reference.namespace, reference.name) == (key.namespace, key.name):
                yield one

    async def _list(self) -> tuple[ENI, ...]:
        async with self._one_asks:
            now = self._clock()
            if self._listed_at is None or now - self._listed_at >= _FRESH_S:
                self._listed = await self._calls.list_tagged(self._tags)
                self._listed_at = now
            return self._listed

    def by_interface(
        self, blank: PodENI, enis: Iterable[ENI], addresses: Collection[str]
    ) -> Mapping[str, ENI]:
        """Return which ENI is that of each interface of a PodENI, as well as can be said."""
        left, found, networks = list(enis), {}, networks_of(blank)
        for name in map(name_of, blank.spec.allocations):
            if not left:
                break

            def fit(eni: ENI, *, name: str = name) -> tuple[bool, bool, bool]:
                has_address = not addresses_of_eni(eni).isdisjoint(addresses)
                return (
                    self._said_of(eni) == name,
                    has_address is (name == PRIMARY_INTERFACE),
                    eni.vswitch_id in networks[name].vswitch_ids,
                )

            found[name] = max(left, key=fit)
            left.remove(found[name])
        return found

    def _said_of(self, eni: ENI) -> str:
        known: NetworkInterface | None = self._interfaces.get(eni.id)
        said = "" if known is None else known.metadata.annotations.get(INTERFACE, "")
        return said or dict(eni.tags).get(INTERFACE_TAG, "")


def uid_of(found: NetworkInterface) -> str:
    """Return the uid of the PodENI that an ENI was made for."""
    return found.spec.pod_eni_ref.uid if found.spec.pod_eni_ref else ""


def addresses_in(found: NetworkInterface) -> frozenset[str]:
    """Return the addresses that a NetworkInterface says."""
    return frozenset({found.spec.ipv4, found.spec.ipv6} - {""})
