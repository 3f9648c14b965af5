"""Controller `pod`: each pod that is to have ENIs of its own has a PodENI, and waits for no gate.

Which networks those are was decided at admission, and stands in the pod's annotation; for a pod
that the webhook did not see it is decided here, by the same rules. What becomes of the PodENI is
the business of `pod-eni`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from terway.config.network_keys import POD_NETWORKS
from terway.config.requested_networks import parse_asked
from terway.controlplane.controller import DONE, Informers, Outcome, Watch
from terway.controlplane.podenis.gates import opened
from terway.controlplane.podenis.missed import Missed
from terway.controlplane.podenis.reading import (
    NODE_LABEL,
    POD_ENI,
    node_of,
    pod_of,
    record_of,
    wants_eni,
)
from terway.controlplane.podenis.restoring import Restorer
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.words import allocation_of, write_networks
from terway.controlplane.podenis.world import ClusterWorld
from terway.controlplane.ports import KubePort
from terway.controlplane.watched import WATCHED_NODES, WATCHED_PODS, WatchedPod
from terway.kube.client import PatchType
from terway.kube.crds import (
    POD_ENI_FINALIZER,
    POD_ENIS,
    POD_NETWORKINGS,
    POD_UID,
    PodENI,
    PodENISpec,
    PodNetworking,
)
from terway.kube.informer import Change
from terway.kube.resource import PODS, ObjectKey, key_of
from terway.kube.types import ObjectMeta, Pod
from terway.model.errors import ConflictError, UsageError
from terway.model.pod_network import PodNetwork
from terway.podeni.admission import ENI_RESOURCE
from terway.podeni.pods import PodFacts
from terway.podeni.record import NodeState, Phase, PodState
from terway.podeni.selection import select_networks
from terway.podeni.settings import Settings

_RAW_PODS = PODS.typed(dict[str, Any])
_NODE_WAIT_S = 5.0


class PodController:
    """Controls pods with ENIs of their own."""

    name = "pod"

    def __init__(
        self,
        client: KubePort,
        informers: Informers,
        world: ClusterWorld,
        teller: Teller,
        *,
        missed: Missed,
        restorer: Restorer,
        settings: Callable[[], Settings],
        concurrency: int = 10,
    ) -> None:
        self.concurrency = concurrency
        self._client = client
        self._world = world
        self._teller = teller
        self._missed = missed
        self._restorer = restorer
        self._settings = settings
        self._pods = informers.of(WATCHED_PODS)
        self._nodes = informers.of(WATCHED_NODES)
        self._records = informers.of(POD_ENIS)
        self._refused: set[ObjectKey] = set()
        self.watches: tuple[Watch, ...] = (
            Watch(resource=WATCHED_PODS, keys_of=self._of_pod),
            Watch(resource=POD_ENIS, keys_of=self._of_record),
            Watch(resource=POD_NETWORKINGS, keys_of=self._of_networking),
        )

    def _of_pod(self, change: Change[WatchedPod]) -> Iterable[ObjectKey]:
        pod = change.new
        if pod is None:
            return ()
        is_new = change.old is None and self._missed.networking_of(pod, facts_of(pod))
        return (change.key,) if is_new or self._wants(pod) else ()

    def _of_record(self, change: Change[PodENI]) -> Iterable[ObjectKey]:
        self._restorer.saw(change)
        return (change.key,)

    def _of_networking(self, change: Change[PodNetworking]) -> Iterable[ObjectKey]:
        """Return the pods that were refused: the network may be the one that they ask for."""
        return () if change.new is None else tuple(self._refused)

    def _wants(self, pod: WatchedPod) -> bool:
        node = self._nodes.get(pod.spec.node_name) if pod.spec.node_name else None
        return wants_eni(pod, node, self._settings())

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """See that one pod has its PodENI, and is let through its gate when the ENIs are there."""
        self._refused.discard(key)
        pod: WatchedPod | None = self._pods.objects.get(key)
        if pod is not None and not self._wants(pod):
            await self._tell_if_missed(pod)
            return DONE
        state = pod_of(pod, wants=True)
        if pod is None or state is None or state.is_over:
            self._restorer.forget(key)
            return DONE
        found: PodENI | None = self._records.objects.get(key)
        if found is not None:
            if state.is_gated and not state.is_terminating:
                await self._open_gate(pod, found)
            return DONE
        return await self._give(pod, state)

    async def _give(self, pod: WatchedPod, state: PodState) -> Outcome:
        """Make the PodENI that is not there; one that the pod had, with what it has."""
        if state.node_name is None and not state.is_gated:
            return DONE  # its zone is the scheduler's business
        if state.node_name is not None:
            node = node_of(self._nodes.get(state.node_name))
            if node is None:
                return Outcome(again_in_s=_NODE_WAIT_S)
            if await self._restore(pod, node):
                return DONE
        if not state.is_terminating:
            await self._make(pod)
        return DONE

    async def _restore(self, pod: WatchedPod, node: NodeState) -> bool:
        try:
            return await self._restorer.restore(
                pod, node, lambda: pod_eni_of(pod, self._networks(pod))
            )
        except UsageError as error:
            self._refuse(pod, error)
            return True

    def _refuse(self, pod: WatchedPod, error: UsageError) -> None:
        self._teller.pod_failed(pod, "PodCreateFailed", str(error))
        self._refused.add(key_of(pod))

    async def _tell_if_missed(self, pod: WatchedPod) -> None:
        networking = self._missed.networking_of(pod, facts_of(pod))
        if networking:
            await self._missed.tell(pod, networking)

    async def _make(self, pod: WatchedPod) -> None:
        try:
            networks = self._networks(pod)
        except UsageError as error:
            self._refuse(pod, error)
            return
        try:
            await self._client.create(POD_ENIS, pod_eni_of(pod, networks))
        except ConflictError as error:
            if error.code != "AlreadyExists":
                raise

    def _networks(self, pod: WatchedPod) -> Sequence[PodNetwork]:
        """Return the pod's networks. Raises UsageError for what it cannot have."""
        annotations = pod.metadata.annotations
        asked = parse_asked(annotations, is_admitted=annotations.get(POD_ENI) == "true")
        facts = facts_of(pod)
        selected = select_networks(
            facts,
            asked,
            namespace_labels=self._world.namespace_labels(pod.metadata.namespace),
            networkings=tuple(self._world.networkings()),
            defaults=self._world.defaults(),
            settings=self._settings(),
        )
        if selected is not None:
            return selected.networks
        # A node of whole ENIs gives one to each pod, whether it was asked for or not.
        every = select_networks(
            facts,
            parse_asked({"k8s.aliyun.com/pod-eni": "true"}),
            namespace_labels={},
            networkings=(),
            defaults=self._world.defaults(),
            settings=self._settings(),
        )
        return every.networks if every is not None else ()

    async def _open_gate(self, pod: WatchedPod, found: PodENI) -> None:
        record = record_of(found)
        is_its = record.pod_uid == pod.metadata.uid or record.phase is Phase.UNBIND
        if record.missing or record.zone_id is None or record.is_deleted or not is_its:
            return
        name, namespace = pod.metadata.name, pod.metadata.namespace
        raw = await self._client.get(_RAW_PODS, name, namespace=namespace)
        patch = opened(raw, record.zone_id) if raw is not None else ()
        if patch:
            await self._client.patch(
                _RAW_PODS, name, patch, namespace=namespace, kind=PatchType.JSON
            )


def facts_of(pod: Pod) -> PodFacts:
    """Return what of a pod decides about its network."""
    return PodFacts(
        labels=pod.metadata.labels,
        owner_kinds=tuple(one.kind for one in pod.metadata.owner_references if one.controller),
        is_host_network=pod.spec.host_network,
        has_containers=bool(pod.spec.containers),
        asks_whole=any(ENI_RESOURCE in one.resources.limits for one in pod.spec.containers),
    )


def pod_eni_of(pod: WatchedPod, networks: Sequence[PodNetwork]) -> PodENI:
    """Return the PodENI of a pod, before any of its ENIs exists."""
    metadata = pod.metadata
    labels = {NODE_LABEL: pod.spec.node_name} if pod.spec.node_name else {}
    return PodENI(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            labels=labels,
            annotations={POD_UID: metadata.uid, POD_NETWORKS: write_networks(networks)},
            finalizers=(POD_ENI_FINALIZER,),
        ),
        spec=PodENISpec(allocations=tuple(map(allocation_of, networks))),
    )
