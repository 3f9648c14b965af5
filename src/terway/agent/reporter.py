"""What terwayd tells Kubernetes about pods: events, and their addresses as an annotation.

Nothing of it holds up an ADD: it is queued, and sent when the API server takes it.
"""

from __future__ import annotations

import asyncio

import structlog

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.events import EventRecorder, pod_reference
from terway.kube.resource import PODS
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import TransientError, VpcError

POD_IPS = "k8s.aliyun.com/pod-ips"

_log = structlog.get_logger("reporter")


class PodReporter:
    """Tells how ADDs went. `patches_pods` is `enable_patch_pod_ips` of eni-config."""

    def __init__(
        self, client: KubeClient, events: EventRecorder, *, patches_pods: bool, backoff: Backoff
    ) -> None:
        self._client = client
        self._events = events
        self._patches_pods = patches_pods
        self._backoff = backoff
        self._waiting: dict[PodRef, str] = {}
        self._filled = asyncio.Event()

    def add_succeeded(self, attachment: Attachment, *, elapsed_s: float) -> None:
        """Record the event that upstream's users look for, and queue the annotation."""
        pod = attachment.pod
        if pod is None:
            return
        addresses = ",".join(map(str, attachment.lease.addresses))
        message = f"Alloc IP {addresses} took {elapsed_s * 1000:.1f}ms"
        self._events.record(
            pod_reference(pod.namespace, pod.name, pod.uid), "Normal", "AllocIPSucceed", message
        )
        if self._patches_pods:
            self._waiting[pod] = addresses
            self._filled.set()

    def add_failed(self, pod: PodRef, error: VpcError) -> None:
        """Record why the pod has no address."""
        self._events.record(
            pod_reference(pod.namespace, pod.name, pod.uid), "Warning", "AllocIPFailed", str(error)
        )

    async def run(self) -> None:
        """Write the annotations that are queued, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write all that is queued; what the API server cannot take now stays queued."""
        while self._waiting:
            pod, addresses = next(iter(self._waiting.items()))
            try:
                await self._patch(pod, addresses)
            except TransientError as error:
                _log.warning("reporter.waiting", pods=len(self._waiting), error=str(error))
                await asyncio.sleep(self._backoff.next_s())
                continue
            except VpcError as error:
                # The pod is gone (404), or we may not (403): nothing changes by trying again.
                _log.info("reporter.dropped", pod=str(pod), error=str(error))
            self._backoff.reset()
            if self._waiting.get(pod) == addresses:
                del self._waiting[pod]

    async def _patch(self, pod: PodRef, addresses: str) -> None:
        metadata: dict[str, object] = {"annotations": {POD_IPS: addresses}}
        if pod.uid:
            metadata["uid"] = pod.uid  # a conflict when the name is another pod's by now
        await self._client.patch(PODS, pod.name, {"metadata": metadata}, namespace=pod.namespace)
