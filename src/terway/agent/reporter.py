"""What terwayd tells Kubernetes about pods: events, and their addresses as an annotation.

Nothing of it holds up an ADD: it is queued, and sent when the API server takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from terway.config.pod_bandwidth import PARSE_FAILED
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient
from terway.kube.events import WARNING, EventRecorder, node_reference, pod_reference
from terway.kube.resource import PODS
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import CapacityError, TransientError, VpcError
from terway.model.ids import NodeName

POD_IPS = "k8s.aliyun.com/pod-ips"

# Far more pods than a node has: what is older belongs to pods that went while the API server was
# away. Should one of them live, the next start finds that it was not told.
QUEUE_LIMIT = 2048

_log = structlog.get_logger("reporter")


class Warnings:
    """Events that warn: of the node, and of one pod."""

    def __init__(self, events: EventRecorder, node: NodeName) -> None:
        self._events = events
        # The kubelet's events name the node's name as its uid; `kubectl describe` looks for that.
        self._node = node_reference(node, node)

    def tell_node(self, reason: str, message: str) -> None:
        """Warn about the node."""
        self._events.record(self._node, WARNING, reason, message)

    def tell_pod(self, pod: PodRef, reason: str, message: str) -> None:
        """Warn about a pod."""
        target = pod_reference(pod.namespace, pod.name, pod.uid)
        self._events.record(target, WARNING, reason, message)


class PodReporter:
    """Tells how ADDs went. `patches_pods` is `enable_patch_pod_ips` of eni-config."""

    def __init__(
        self, client: KubeClient, events: EventRecorder, *, patches_pods: bool, backoff: Backoff
    ) -> None:
        self.node: Warnings | None = None  # whom nodes' troubles are told by, if anybody
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
        addresses = _words(attachment)
        message = f"Alloc IP {addresses} took {elapsed_s * 1000:.1f}ms"
        self._events.record(
            pod_reference(pod.namespace, pod.name, pod.uid), "Normal", "AllocIPSucceed", message
        )
        if self._patches_pods:
            self._queue(pod, addresses)

    def add_failed(self, pod: PodRef, error: VpcError) -> None:
        """Record why the pod has no address."""
        reason = PARSE_FAILED if error.code == PARSE_FAILED else "AllocIPFailed"
        self._events.record(
            pod_reference(pod.namespace, pod.name, pod.uid), "Warning", reason, str(error)
        )
        if self.node is not None and isinstance(error, CapacityError):
            # Not the pod's own fault: its node has none. Without the pod's name it is one event.
            self.node.tell_node("AllocIPFailed", str(error))

    def catch_up(
        self, attachments: Iterable[Attachment], said: Callable[[PodRef], str | None]
    ) -> None:
        """Queue the annotations that a terwayd before this one did not live to write.

        `said` returns what a pod is annotated with, None for a pod that is not there.
        """
        if not self._patches_pods:
            return
        # Of two sandboxes of a pod the younger counts, which is the later one; of several
        # interfaces the one that the runtime asked for, as after ADD.
        own = [one for one in attachments if not one.spec.parent]
        wanted = {one.pod: _words(one) for one in own if one.pod is not None}
        for pod, addresses in wanted.items():
            if said(pod) not in (None, addresses) and pod not in self._waiting:
                self._queue(pod, addresses)

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
                self._let_others_pass(pod)
                await asyncio.sleep(self._backoff.next_s())
                continue
            except VpcError as error:
                # The pod is gone (404), or we may not (403): nothing changes by trying again.
                _log.info("reporter.dropped", pod=str(pod), error=str(error))
            self._backoff.reset()
            if self._waiting.get(pod) == addresses:
                del self._waiting[pod]

    def _queue(self, pod: PodRef, addresses: str) -> None:
        self._waiting.pop(pod, None)
        self._waiting[pod] = addresses
        if len(self._waiting) > QUEUE_LIMIT:
            del self._waiting[next(iter(self._waiting))]
        self._filled.set()

    def _let_others_pass(self, pod: PodRef) -> None:
        # It may be this one pod that the API server fails at: a webhook of its namespace is away.
        if pod in self._waiting:
            self._waiting[pod] = self._waiting.pop(pod)

    async def _patch(self, pod: PodRef, addresses: str) -> None:
        metadata: dict[str, object] = {"annotations": {POD_IPS: addresses}}
        if pod.uid:
            metadata["uid"] = pod.uid  # a conflict when the name is another pod's by now
        await self._client.patch(PODS, pod.name, {"metadata": metadata}, namespace=pod.namespace)


def _words(attachment: Attachment) -> str:
    return ",".join(map(str, attachment.lease.addresses))
