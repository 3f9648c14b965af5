"""Which slices are a Service's, which pods are in them, and which pods wait at its gate?

Kept by the changes that are watched: nobody looks through all pods of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from terway.controlplane.balancers.objects import SLICES, EndpointSlice
from terway.controlplane.controller import Informers
from terway.controlplane.watched import WATCHED_PODS, WatchedPod
from terway.kube.informer import Change, Informer
from terway.kube.resource import ObjectKey
from terway.kube.services import SERVICE_NAME
from terway.loadbalancer.readiness import services_of

Index = dict[ObjectKey, set[ObjectKey]]


class Behind:
    """Indexes by Service. `of_slice` and `of_pod` are for its controller's watches."""

    def __init__(self, informers: Informers) -> None:
        self._slices: Informer[EndpointSlice] = informers.of(SLICES)
        self._pods: Informer[WatchedPod] = informers.of(WATCHED_PODS)
        self._slices_of: Index = {}
        self._waiting: Index = {}

    def of_slice(self, change: Change[EndpointSlice]) -> Iterator[ObjectKey]:
        """Keep whose a slice is, and yield the Services that the change is about."""
        for one in (change.old, change.new):
            owner = one.metadata.labels.get(SERVICE_NAME) if one is not None else None
            if owner is not None:
                key = ObjectKey(namespace=change.key.namespace, name=owner)
                _keep(self._slices_of, key, change.key, is_there=one is change.new)
                yield key

    def of_pod(self, change: Change[WatchedPod]) -> Iterator[ObjectKey]:
        """Keep what a pod waits for, and yield these Services."""
        for one in (change.old, change.new):
            for name in services_of(_gates(one) if one is not None else ()):
                key = ObjectKey(namespace=change.key.namespace, name=name)
                _keep(self._waiting, key, change.key, is_there=one is change.new)
                yield key

    def slices(self, service: ObjectKey) -> tuple[EndpointSlice, ...]:
        """Return the slices of a Service."""
        held = (self._slices.objects.get(one) for one in sorted(self._slices_of.get(service, ())))
        return tuple(one for one in held if one is not None)

    def pods(self, slices: Iterable[EndpointSlice]) -> Mapping[tuple[str, str], WatchedPod]:
        """Return the pods that slices name, by namespace and name; not another of its name."""
        found = {}
        for one in slices:
            for endpoint in one.endpoints or ():
                ref = endpoint.target_ref
                pod = self._pods.get(ref.name, namespace=ref.namespace)
                if pod is not None and (not ref.uid or pod.metadata.uid == ref.uid):
                    found[ref.namespace, ref.name] = pod
        return found

    def waiting(self, service: ObjectKey) -> tuple[WatchedPod, ...]:
        """Return the pods that have a gate for a Service."""
        held = (self._pods.objects.get(one) for one in sorted(self._waiting.get(service, ())))
        return tuple(one for one in held if one is not None)


def _gates(pod: WatchedPod) -> Iterator[str]:
    return (gate.condition_type for gate in pod.spec.readiness_gates)


def _keep(index: Index, owner: ObjectKey, key: ObjectKey, *, is_there: bool) -> None:
    if is_there:
        index.setdefault(owner, set()).add(key)
        return
    held = index.get(owner, set())
    held.discard(key)
    if not held:
        index.pop(owner, None)
