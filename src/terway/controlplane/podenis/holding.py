"""Has a pod that runs an ENI whose NetworkInterface somebody deletes?

What the PodENI's own controller deletes is nobody's any more. So this is asked of the API server
only where the copy in memory says otherwise: then it was a person, or the copy is old.
"""

from __future__ import annotations

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.reading import pod_of, record_of
from terway.controlplane.podenis.remains import addresses_in, uid_of
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.crds import NETWORK_INTERFACES, POD_ENIS, NetworkInterface, ObjectRef, PodENI
from terway.model.ids import ENIId
from terway.podeni.record import Phase, PodState, Record


class Holding:
    """Knows whose ENIs are."""

    def __init__(self, client: KubePort, informers: Informers) -> None:
        self._client = client
        self._records = informers.of(POD_ENIS)
        self._interfaces = informers.of(NETWORK_INTERFACES)

    async def is_awaited(self, found: NetworkInterface) -> bool:
        """Return whether a pod runs with an ENI, or may, that no PodENI has.

        Somebody took that away past its finalizer, and it is written again.
        """
        reference = found.spec.pod_eni_ref
        if reference is None:
            return False
        known = self._records.get(reference.name, namespace=reference.namespace)
        if _lets_go(known, found):
            return False
        owner = await self._client.get(POD_ENIS, reference.name, namespace=reference.namespace)
        pod = await self._pod_of(reference)
        if _lets_go(owner, found) or pod is None or pod.is_over or pod.node_name is None:
            return False
        if owns(owner, found):
            return not _was_made_for(owner, found)  # the one that was written again
        if not pod.addresses:
            return owner is None
        return not pod.addresses.isdisjoint(self._addresses_beside(found))

    async def _pod_of(self, reference: ObjectRef) -> PodState | None:
        pod = await self._client.get(WATCHED_PODS, reference.name, namespace=reference.namespace)
        return pod_of(pod, wants=True)

    def _addresses_beside(self, found: NetworkInterface) -> frozenset[str]:
        """Return the addresses of the ENIs that were made for the same PodENI."""
        uid, listed = uid_of(found), self._interfaces.objects.values()
        return addresses_in(found).union(
            *(addresses_in(one) for one in listed if uid_of(one) == uid)
        )

    async def holder_of(self, found: NetworkInterface) -> PodENI | None:
        """Return the PodENI whose pod runs with this ENI; None if no pod has it."""
        reference, eni_id = found.spec.pod_eni_ref, ENIId(found.metadata.name)
        if reference is None:
            return None
        known: PodENI | None = self._records.get(reference.name, namespace=reference.namespace)
        if known is None or not _is_holding(record_of(known), eni_id):
            return None
        owner = await self._client.get(POD_ENIS, reference.name, namespace=reference.namespace)
        if owner is None or not _is_holding(record_of(owner), eni_id):
            return None
        pod = await self._pod_of(reference)
        is_its = pod is not None and not pod.is_over and pod.uid == record_of(owner).pod_uid
        return owner if is_its else None


def owns(owner: PodENI | None, found: NetworkInterface) -> bool:
    """Return whether a PodENI is the one that an ENI was made for, or has it now."""
    if owner is None:
        return False
    eni_id = ENIId(found.metadata.name)
    return _was_made_for(owner, found) or eni_id in record_of(owner).eni_ids


def _was_made_for(owner: PodENI | None, found: NetworkInterface) -> bool:
    return owner is not None and owner.metadata.uid == uid_of(found)


def _lets_go(owner: PodENI | None, found: NetworkInterface) -> bool:
    """Return whether a PodENI has an ENI and gives it to nobody: whoever deletes it, may."""
    if owner is None or not owns(owner, found):
        return False
    phase = record_of(owner).phase
    is_new = phase is Phase.NEW and _was_made_for(owner, found)
    return is_new or phase in (Phase.UNBIND, Phase.DETACHING, Phase.DELETING)


def _is_holding(record: Record, eni_id: ENIId) -> bool:
    """Return whether a PodENI has given an ENI to its pod, or is about to."""
    is_given = record.phase is Phase.BIND
    return eni_id in record.eni_ids and (
        is_given or (record.phase is Phase.BINDING and not record.is_deleted)
    )
