"""Has a pod that runs an ENI whose NetworkInterface somebody deletes?

What the PodENI's own controller deletes is nobody's any more. So this is asked of the API server
only where the copy in memory says otherwise: then it was a person, or the copy is old.
"""

from __future__ import annotations

from terway.controlplane.controller import Informers
from terway.controlplane.podenis.reading import pod_of, record_of
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WATCHED_PODS
from terway.kube.crds import POD_ENIS, NetworkInterface, PodENI
from terway.model.ids import ENIId
from terway.podeni.record import Phase, Record


class Holding:
    """Knows whose ENIs are."""

    def __init__(self, client: KubePort, informers: Informers) -> None:
        self._client = client
        self._records = informers.of(POD_ENIS)

    async def holder_of(self, found: NetworkInterface) -> PodENI | None:
        """Return the PodENI whose pod runs with this ENI; None if no pod has it."""
        reference, eni_id = found.spec.pod_eni_ref, ENIId(found.metadata.name)
        if reference is None:
            return None
        known: PodENI | None = self._records.get(reference.name, namespace=reference.namespace)
        if known is None or not _is_holding(record_of(known), eni_id):
            return None
        key = {"name": reference.name, "namespace": reference.namespace}
        owner = await self._client.get(POD_ENIS, **key)
        if owner is None or not _is_holding(record_of(owner), eni_id):
            return None
        found_pod = await self._client.get(WATCHED_PODS, **key)
        pod = pod_of(found_pod, wants=True)
        is_its = pod is not None and not pod.is_over and pod.uid == record_of(owner).pod_uid
        return owner if is_its else None


def _is_holding(record: Record, eni_id: ENIId) -> bool:
    """Return whether a PodENI has given an ENI to its pod, or is about to."""
    is_given = record.phase is Phase.BIND
    return eni_id in record.eni_ids and (
        is_given or (record.phase is Phase.BINDING and not record.is_deleted)
    )
