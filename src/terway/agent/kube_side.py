"""Everything terwayd has of the Kubernetes API: its node's pods, events, annotations, its node.

All of it may be away, at start or later: what needs it says so, the rest goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random

import structlog

from terway.agent.node_report import NodeReporter
from terway.agent.pods import WatchedPods, is_same
from terway.agent.pool_ports import PoolStatus
from terway.agent.reporter import POD_IPS, PodReporter, Warnings
from terway.config.findings import Caution
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.events import WARNING, EventRecorder, node_reference
from terway.kube.informer import Changes, Informer
from terway.kube.resource import PODS
from terway.kube.types import ObjectReference, Pod
from terway.model.attachment import Attachment, PodRef
from terway.model.ids import NodeName

_log = structlog.get_logger("kube")


class KubeSide:
    """The loops and caches over one API server, for one node."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        *,
        patches_pods: bool,
        cautions: Iterable[Caution],
        rng: Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        rng = rng or Random()  # noqa: S311 - waits are drawn from it, not secrets
        self._clock = clock
        self._client = client
        self.notes: dict[str, str | None] = {}  # of others, at the Node
        self._node = node
        self._cache = Informer(
            client,
            PODS,
            backoff=Backoff(rng),
            selector=Selector(fields=f"spec.nodeName={node}"),
            on_error=lambda error: _log.warning("kube.watch_failed", error=str(error)),
        )
        self._events = EventRecorder(
            client,
            component="terwayd",
            host=node,
            clock=clock,
            on_error=lambda error: _log.info("kube.event_lost", error=str(error)),
        )
        record_cautions(self._events, node, cautions)
        self.warnings = Warnings(self._events, node)
        self.pods = WatchedPods(client, self._cache)
        self.reporter = PodReporter(
            client, self._events, patches_pods=patches_pods, backoff=Backoff(rng)
        )
        self.reporter.node = self.warnings

    def tell_node(self, type_: str, reason: str, message: str) -> None:
        """Record an event about the node; never waits, never fails."""
        self._events.record(node_reference(self._node, self._node), type_, reason, message)

    def tell_policy_is_off(self) -> None:
        """Say at the node that policies were in force, and are not any more."""
        text = "NetworkPolicy is switched off by eni-config: every pod reaches every pod"
        self.tell_node(WARNING, "NetworkPolicyOff", text)

    def warn(self, target: ObjectReference, reason: str, message: str) -> None:
        """Warn about any object by an event; never waits, never fails."""
        self._events.record(target, WARNING, reason, message)

    async def run(
        self,
        status: Callable[[], PoolStatus],
        attachments: Callable[[], Iterable[Attachment]] = tuple,
    ) -> None:
        """Follow and report until cancelled; `status` tells how the pool is.

        What `attachments` there are already is told to their pods, where nobody did.
        """
        node = NodeReporter(
            self._client, self._node, status=status, clock=self._clock, notes=self.notes
        )
        async with asyncio.TaskGroup() as tasks:
            for loop in (self._cache, self._events, self.reporter, node):
                tasks.create_task(loop.run(), name=type(loop).__name__)
            await self._cache.synced.wait()
            self.reporter.catch_up(attachments(), self._annotated_with)

    @contextmanager
    def changes(self) -> Iterator[Changes[Pod]]:
        """Open a stream of the node's pods as they change, those that are there first."""
        with self._cache.subscribe() as changes:
            yield changes

    async def pods_here(self) -> tuple[Pod, ...]:
        """Return the node's pods, as soon as all that there are were heard of."""
        await self._cache.synced.wait()
        return tuple(self._cache.objects.values())

    def _annotated_with(self, ref: PodRef) -> str | None:
        pod = self._cache.get(ref.name, namespace=ref.namespace)
        if pod is None or not is_same(pod, ref):
            return None
        return pod.metadata.annotations.get(POD_IPS, "")


def record_cautions(events: EventRecorder, node: NodeName, cautions: Iterable[Caution]) -> None:
    """Tell at the node what in eni-config does not do what its reader may think."""
    # The kubelet's events name the node's name as its uid, and `kubectl describe` looks for that.
    target = node_reference(node, node)
    for caution in cautions:
        events.record(target, WARNING, "ConfigWithoutEffect", str(caution))
