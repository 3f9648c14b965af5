"""How does a pod that runs get its PodENI back, that somebody took away past its finalizer?

With the ENIs that it has: those of the PodENI as it was last seen, if this process saw it go; if
not, what remains (`remains`) of a pod that is older than this process. Either way the cloud is
asked where they are: what is not at the pod's node, the pod does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import structs

from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.making import Maker, emptied
from terway.controlplane.podenis.reading import NODE_LABEL, addresses_of, phase_of, record_of
from terway.controlplane.podenis.remains import Remains
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.words import name_of
from terway.controlplane.podenis.writes import Writes
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WatchedPod
from terway.kube.clock import parse_time
from terway.kube.crds import POD_ENI_FINALIZER, POD_ENIS, Allocation, PodENI
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey, key_of
from terway.kube.types import ObjectMeta
from terway.model.eni import ENI, ENIStatus
from terway.model.errors import ConflictError
from terway.model.ids import ENIId
from terway.podeni.eni_life import place_of
from terway.podeni.record import NodeState, Phase

_GIVEN = (Phase.BINDING, Phase.BIND)
_THERE = (ENIStatus.ATTACHING, ENIStatus.IN_USE)
_TOLD = (
    "somebody took the PodENI away under its pod, past its finalizer: it is written again with "
    "{enis}, which the pod has; delete the pod to have that gone"
)


class Restorer:
    """Writes PodENIs again. It sees what goes since `began`, in seconds since the epoch."""

    def __init__(
        self,
        client: KubePort,
        calls: Calls,
        maker: Maker,
        writes: Writes,
        teller: Teller,
        *,
        remains: Remains,
        began: float,
    ) -> None:
        self._client = client
        self._calls = calls
        self._maker = maker
        self._writes = writes
        self._teller = teller
        self._remains = remains
        self._began = began
        self._gone: dict[ObjectKey, PodENI] = {}

    def saw(self, change: Change[PodENI]) -> None:
        """Note what goes while its ENIs are given to a pod."""
        old = change.old
        if change.new is None and old is not None and phase_of(old.status.phase) in _GIVEN:
            self._gone[change.key] = old
        else:
            self._gone.pop(change.key, None)

    def forget(self, key: ObjectKey) -> None:
        """Forget what a pod had that is gone."""
        self._gone.pop(key, None)

    async def restore(self, pod: WatchedPod, node: NodeState, blank: Callable[[], PodENI]) -> bool:
        """Write the PodENI again that the pod had, and return whether it had one.

        `blank` is one without ENIs, for where nobody knows more. Raises what the calls raise.
        """
        key = key_of(pod)
        copy = self._gone.get(key)
        if copy is not None and record_of(copy).pod_uid != pod.metadata.uid:
            copy = None
        there = await self._at_node(await self._had(pod, copy), node)
        if copy is not None and there:
            await self._write(_with(copy, there, node), there)
        elif there:
            await self._write(await self._filled(pod, there, node, blank()), there)
        self.forget(key)
        return bool(there)

    async def _had(self, pod: WatchedPod, copy: PodENI | None) -> Sequence[ENIId]:
        if copy is not None:
            return record_of(copy).eni_ids
        addresses = addresses_of(pod)
        if addresses:
            return await self._remains.of(key_of(pod), addresses)
        # A pod that is new has nothing yet, as nearly always: that is not worth a list of all ENIs.
        made = pod.metadata.creation_timestamp
        is_older = made is not None and parse_time(made) < self._began
        return await self._remains.made_for(pod.metadata.uid) if is_older else ()

    async def _at_node(self, eni_ids: Sequence[ENIId], node: NodeState) -> Mapping[str, ENI]:
        """Return those that the cloud has at a node, by their ids."""
        found = await self._calls.describe(eni_ids) if eni_ids else ()
        return {
            eni.id: eni
            for eni in found
            if eni.status in _THERE and eni.instance_id == node.instance_id
        }

    async def _filled(
        self, pod: WatchedPod, there: Mapping[str, ENI], node: NodeState, blank: PodENI
    ) -> PodENI:
        fitting = self._remains.by_interface(blank, there.values(), addresses_of(pod))
        filled = [
            await self._maker.with_eni(one, fitting[name_of(one)])
            if name_of(one) in fitting
            else one
            for one in blank.spec.allocations
        ]
        return _again(blank, filled, node)

    async def _write(self, wanted: PodENI, there: Mapping[str, ENI]) -> None:
        """Write it, and that its ENIs are where they are: the rest is as for any other."""
        try:
            made = await self._client.create(POD_ENIS, wanted)
        except ConflictError as error:
            if error.code != "AlreadyExists":
                raise
            return
        record, target = record_of(made), place_of(next(iter(there.values())))
        if not record.missing:
            with suppress(ConflictError):  # somebody is at it already, and comes to the same
                await self._writes.status(made, Phase.BINDING, target, is_seen=True)
        self._teller.failed(made, "DeletePodENI", _TOLD.format(enis=", ".join(record.eni_ids)))


def _with(copy: PodENI, there: Iterable[str], node: NodeState) -> PodENI:
    kept = [one if one.eni.id in there else emptied(one) for one in copy.spec.allocations]
    return _again(copy, kept, node)


def _again(found: PodENI, allocations: Sequence[Allocation], node: NodeState) -> PodENI:
    """Return what is to be made: all that was said, and nothing that the API server says."""
    old = found.metadata
    metadata = ObjectMeta(
        name=old.name,
        namespace=old.namespace,
        labels={**old.labels, NODE_LABEL: node.name},
        annotations=old.annotations,
        finalizers=(POD_ENI_FINALIZER,),
    )
    spec = structs.replace(found.spec, allocations=tuple(allocations), zone=node.zone_id)
    return PodENI(metadata=metadata, spec=spec)
