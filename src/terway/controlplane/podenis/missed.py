"""Which pods came past the webhook without the network that a PodNetworking has for them?

Pods that ask for a network never do: they wait (docs/decisions/0023). One that is selected by its
labels can, where the webhook cannot fail closed (0025). It has an ordinary address by the time that
anybody sees it; so it is told, once, by a condition and an event. What runs is not taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from terway.config.requested_networks import asks_for_eni
from terway.controlplane.entries import OPTED_OUT
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WatchedPod
from terway.kube.client import PatchType
from terway.kube.clock import format_time
from terway.kube.resource import PODS
from terway.model.errors import ConflictError
from terway.model.exposition import Counter, Metric
from terway.podeni.pods import PodFacts
from terway.podeni.selection import choose
from terway.podeni.settings import Settings

CONDITION = "network.alibabacloud.com/PodNetworking"
REASON = "PodNetworkingMissed"
_FINISHED = ("Succeeded", "Failed")


class Missed:
    """Finds and tells them. `clock` is seconds since the epoch."""

    def __init__(
        self,
        client: KubePort,
        world: ClusterWorld,
        teller: Teller,
        *,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._world = world
        self._teller = teller
        self._settings = settings
        self._clock = clock
        self._told = Counter(
            name="terway_controlplane_pods_without_their_network_total",
            text="pods that a PodNetworking selects and that came past the webhook",
        )

    def networking_of(self, pod: WatchedPod, facts: PodFacts) -> str:
        """Return the PodNetworking whose network the pod should have, empty where there is none."""
        if pod.status.phase in _FINISHED or facts.is_none_of_ours:
            return ""
        if asks_for_eni(pod.metadata.annotations, is_central=True) is not None:
            return ""
        labels = self._world.namespace_labels(pod.metadata.namespace)
        if labels.get(OPTED_OUT) == "false":
            return ""
        # Pods that were there before it are none of its.
        since = pod.metadata.creation_timestamp or ""
        there = self._world.networkings_until(since)
        return choose(facts, labels, there, self._settings()) or ""

    async def tell(self, pod: WatchedPod, networking: str) -> None:
        """Say it to the pod, unless it was said already."""
        if any(one.type == CONDITION for one in pod.status.conditions):
            return
        metadata = pod.metadata
        text = (
            f"PodNetworking {networking} selects this pod, but no webhook of terway-controlplane "
            "saw it being made: it has an ordinary address, and the security groups of its node. "
            "Delete it to have it made again"
        )
        condition = {
            "type": CONDITION,
            "status": "False",
            "reason": REASON,
            "message": text,
            "lastTransitionTime": format_time(self._clock()),
        }
        try:
            await self._client.patch(
                PODS,
                metadata.name,
                {"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}},
                namespace=metadata.namespace,
                kind=PatchType.STRATEGIC,
                subresource="status",
            )
        except ConflictError:
            return  # it is gone, or another
        self._told.add()
        self._teller.pod_failed(pod, REASON, text)

    def metrics(self) -> Iterator[Metric]:
        """Yield how many there were."""
        yield self._told
