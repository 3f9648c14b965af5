"""How do users hear of what happens to their PodENIs and pods? By events, in upstream's words."""

from __future__ import annotations

from terway.controlplane.ports import Recorder
from terway.kube.crds import GROUP, POD_ENIS, POD_NETWORKINGS, VERSION, PodENI, PodNetworking
from terway.kube.events import NORMAL, WARNING, pod_reference
from terway.kube.types import ObjectReference, Pod

API_VERSION = f"{GROUP}/{VERSION}"


class Teller:
    """Records events."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def succeeded(self, found: PodENI, what: str, text: str) -> None:
        """Say that `what` (CreateENI, AttachENI, …) was done for a PodENI."""
        self._recorder.record(pod_eni_reference(found), NORMAL, f"{what}Succeed", text)

    def failed(self, found: PodENI, what: str, text: str) -> None:
        """Say that `what` could not be done for a PodENI, and to its pod."""
        target = pod_eni_reference(found)
        self._recorder.record(target, WARNING, f"{what}Failed", text)
        pod = pod_reference(found.metadata.namespace, found.metadata.name)
        self._recorder.record(pod, WARNING, f"{what}Failed", text)

    def pod_failed(self, pod: Pod, reason: str, text: str) -> None:
        """Say to a pod that it cannot have what it asks for."""
        metadata = pod.metadata
        target = pod_reference(metadata.namespace, metadata.name, metadata.uid)
        self._recorder.record(target, WARNING, reason, text)

    def networking(self, found: PodNetworking, *, is_ready: bool, text: str) -> None:
        """Say whether what a PodNetworking names was found."""
        target = ObjectReference(
            api_version=API_VERSION,
            kind=POD_NETWORKINGS.kind,
            name=found.metadata.name,
            uid=found.metadata.uid,
        )
        kind, reason = (NORMAL, "Succeed") if is_ready else (WARNING, "Failed")
        self._recorder.record(target, kind, f"SyncPodNetworking{reason}", text)


def pod_eni_reference(found: PodENI) -> ObjectReference:
    """Return the reference by which an event names a PodENI."""
    return ObjectReference(
        api_version=API_VERSION,
        kind=POD_ENIS.kind,
        namespace=found.metadata.namespace,
        name=found.metadata.name,
        uid=found.metadata.uid,
    )
