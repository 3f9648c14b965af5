"""How is what was decided written into PodENIs and NetworkInterfaces?

Every write of a PodENI names the version that it was decided on: if somebody was faster, it fails
(ConflictError), and the next round decides anew. So nothing is decided twice, and a control plane
that only believes to lead changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from terway.controlplane.podenis.reading import NODE_LABEL
from terway.controlplane.podenis.words import name_of
from terway.controlplane.ports import KubePort
from terway.kube.clock import format_time
from terway.kube.crds import (
    ENI_FINALIZER,
    NETWORK_INTERFACES,
    POD_ENI_FINALIZER,
    POD_ENIS,
    POD_UID,
    Allocation,
    NetworkInterface,
    NetworkInterfaceSpec,
    ObjectRef,
    PodENI,
)
from terway.kube.events import without_request_ids
from terway.kube.types import ObjectMeta
from terway.model.errors import ConflictError
from terway.model.ids import ENIId, NodeName
from terway.podeni.record import Phase, Target

INTERFACE = "k8s.aliyun.com/interface"  # ours, of a NetworkInterface: which of its pod it is
TRIES = "k8s.aliyun.com/eni-tries"  # ours, an annotation: how often ENIs were forgotten


class Writes:
    """The writes. `clock` is seconds since the epoch."""

    def __init__(self, client: KubePort, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._replaced: dict[str, set[str]] = {}  # versions that we know are not the last, by uid

    def is_behind(self, found: PodENI) -> bool:
        """Return whether a copy is older than what was written since: the next one comes soon."""
        metadata = found.metadata
        if metadata.resource_version in self._replaced.get(metadata.uid, ()):
            return True
        self._replaced.pop(metadata.uid, None)
        return False

    async def allocations(
        self,
        found: PodENI,
        changed: Sequence[Allocation],
        *,
        zone: str | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> PodENI:
        """Write the interfaces of a PodENI, and the zone of its ENIs."""
        spec: dict[str, Any] = {"allocations": msgspec.to_builtins(tuple(changed))}
        if zone is not None:
            spec["zone"] = zone
        return await self._patch(found, {"spec": spec}, annotations=annotations)

    async def claim(self, found: PodENI, pod_uid: str, node_name: NodeName | None) -> PodENI:
        """Write for which pod a PodENI is, on which node."""
        metadata = found.metadata
        is_so = metadata.annotations.get(POD_UID, "") == pod_uid
        if is_so and metadata.labels.get(NODE_LABEL, "") == (node_name or ""):
            return found
        annotations = {POD_UID: pod_uid or None}
        labels = {NODE_LABEL: node_name}
        return await self._patch(found, {}, annotations=annotations, labels=labels)

    async def release(self, found: PodENI) -> None:
        """Take our finalizer away."""
        kept = [one for one in found.metadata.finalizers if not _is_ours(one)]
        await self._patch(found, {}, finalizers=kept)
        self._replaced.pop(found.metadata.uid, None)

    async def _patch(self, found: PodENI, patch: dict[str, Any], **metadata: Any) -> PodENI:
        said = {name: value for name, value in metadata.items() if value is not None}
        return await self._write(found, said, patch)

    async def _write(
        self,
        found: PodENI,
        metadata: Mapping[str, Any],
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> PodENI:
        version = found.metadata.resource_version
        written = await self._client.patch(
            POD_ENIS,
            found.metadata.name,
            {"metadata": {"resourceVersion": version, **metadata}, **patch},
            namespace=found.metadata.namespace,
            subresource=subresource,
        )
        if written.metadata.resource_version != version:
            self._replaced.setdefault(found.metadata.uid, set()).add(version)
        return written

    async def status(
        self,
        found: PodENI,
        phase: Phase,
        target: Target | None,
        *,
        is_seen: bool = False,
        infos: Mapping[str, Any] | None = None,
    ) -> PodENI:
        """Write where a PodENI is in its life."""
        old = found.status.eni_infos
        gone: dict[str, Any] = {eni_id: None for eni_id in old if eni_id not in (infos or {})}
        status: dict[str, Any] = {
            "phase": phase.value,
            "instanceID": target.instance_id if target else "",
            "trunkENIID": (target.trunk_eni_id or "") if target else "",
            "msg": "",
            "eniInfos": {**gone, **(infos or {})},
        }
        if is_seen:
            status["podLastSeen"] = format_time(self._clock())
        return await self._status(found, status)

    async def message(self, found: PodENI, text: str) -> PodENI:
        """Write why it does not go on."""
        if without_request_ids(found.status.msg) == without_request_ids(text):
            return found
        return await self._status(found, {"msg": text})

    async def _status(self, found: PodENI, status: dict[str, Any]) -> PodENI:
        return await self._write(found, {}, {"status": status}, subresource="status")

    async def make_interface(self, found: PodENI, one: Allocation) -> None:
        """Make the NetworkInterface of an ENI, if there is none."""
        metadata = found.metadata
        reference = ObjectRef(
            kind=POD_ENIS.kind,
            namespace=metadata.namespace,
            name=metadata.name,
            uid=metadata.uid,
        )
        body = NetworkInterface(
            metadata=ObjectMeta(
                name=one.eni.id,
                annotations={INTERFACE: name_of(one)},
                finalizers=(ENI_FINALIZER,),
            ),
            spec=NetworkInterfaceSpec(
                eni=one.eni,
                ipv4=one.ipv4,
                ipv6=one.ipv6,
                ipv4_cidr=one.ipv4_cidr,
                ipv6_cidr=one.ipv6_cidr,
                extra_config=one.extra_config,
                pod_eni_ref=reference,
            ),
        )
        try:
            await self._client.create(NETWORK_INTERFACES, body)
        except ConflictError as error:
            if error.code != "AlreadyExists":
                raise

    async def wish(
        self,
        found: PodENI,
        eni_ids: Iterable[ENIId],
        phase: Phase,
        target: Target | None = None,
    ) -> None:
        """Write what NetworkInterfaces are to come to; those that are not there are made."""
        status: dict[str, Any] = {"phase": phase.value}
        if target is not None:
            status["instanceID"] = target.instance_id
            status["trunkENIID"] = target.trunk_eni_id or ""
            status["nodeName"] = found.metadata.labels.get(NODE_LABEL, "")
        for eni_id in eni_ids:
            try:
                await self._wish(eni_id, status)
            except ConflictError as error:
                if error.code != "NotFound":
                    raise
                one = next(each for each in found.spec.allocations if each.eni.id == eni_id)
                await self.make_interface(found, one)
                await self._wish(eni_id, status)

    async def _wish(self, eni_id: ENIId, status: dict[str, Any]) -> None:
        await self._client.patch(
            NETWORK_INTERFACES, eni_id, {"status": status}, subresource="status"
        )


def _is_ours(finalizer: str) -> bool:
    return finalizer in (POD_ENI_FINALIZER, "pod-eni")  # the latter is upstream's of old
