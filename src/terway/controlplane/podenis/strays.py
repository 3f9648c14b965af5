"""Which ENIs, that running pods have, did somebody else take away at the cloud? Looked for now and
then, among what the sweep reads anyway: a binding that rests is not asked for.

One that was detached is attached again, as its PodENI says. One that was deleted cannot come back
under a pod that runs with its address: a person hears of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.reading import phase_of
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.ports import KubePort
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, NetworkInterface, PodENI
from terway.model.eni import ENI, ENIStatus
from terway.model.ids import ENIId
from terway.podeni.record import Phase

_IN_ONE_CALL = 100  # what DescribeNetworkInterfaces takes
_DETACHED = (
    "{eni} was detached at the cloud under its pod, not by us: it is attached again, and its node "
    "follows; delete the pod if it is not reached then"
)
_DELETED = (
    "{eni} was deleted at the cloud under its pod, not by us, and its addresses are gone: "
    "delete the pod, and the PodENI, to have new ones"
)


class Strays:
    """Puts back what was taken from pods that run."""

    def __init__(
        self, client: KubePort, informers: Informers, calls: Calls, teller: Teller
    ) -> None:
        self._client = client
        self._calls = calls
        self._teller = teller
        self._interfaces = informers.of(NETWORK_INTERFACES)
        self._records = informers.of(POD_ENIS)

    async def look(self, enis: Iterable[ENI]) -> None:
        """Compare what is bound with `enis`; what is missing there is asked for by its id."""
        seen = {eni.id for eni in enis if eni.status is not ENIStatus.AVAILABLE}
        doubted = {
            ENIId(one.metadata.name): (one, owner)
            for one, owner in self._bound()
            if one.metadata.name not in seen
        }
        for start in range(0, len(doubted), _IN_ONE_CALL):
            ids = tuple(doubted)[start : start + _IN_ONE_CALL]
            found = {eni.id: eni for eni in await self._calls.describe(ids)}
            for eni_id in ids:
                await self._settle(*doubted[eni_id], found.get(eni_id))

    def _bound(self) -> Iterator[tuple[NetworkInterface, PodENI]]:
        for one in self._interfaces.objects.values():
            reference = one.spec.pod_eni_ref
            if reference is None or not _is_bound(one):
                continue
            owner = self._records.get(reference.name, namespace=reference.namespace)
            if owner is not None and _is_bound(owner):
                yield one, owner

    async def _settle(self, one: NetworkInterface, owner: PodENI, eni: ENI | None) -> None:
        name = one.metadata.name
        if eni is None:
            self._teller.failed(owner, "KeepENI", _DELETED.format(eni=name))
        elif eni.status is ENIStatus.AVAILABLE:
            version = {"resourceVersion": one.metadata.resource_version}
            patch = {"metadata": version, "status": {"phase": Phase.BINDING.value}}
            await self._client.patch(NETWORK_INTERFACES, name, patch, subresource="status")
            self._teller.failed(owner, "KeepENI", _DETACHED.format(eni=name))


def _is_bound(one: NetworkInterface | PodENI) -> bool:
    is_there = one.metadata.deletion_timestamp is None
    return is_there and phase_of(one.status.phase) is Phase.BIND
