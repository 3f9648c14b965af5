"""What does a controller see? The cluster at one moment, with the questions all of them ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from terway.kube.clock import format_time, parse_time
from terway.lab.kubeapi.objects import (
    Object,
    condition_of,
    controller_uid,
    is_pod_finished,
    is_pod_ready,
    is_terminating,
    metadata,
    uid_of,
)
from terway.lab.kubeapi.resources import NODE, POD, ResourceDef
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.store import Change, Key


class View:
    """The cluster as it is now. Read only, and of no use after the next write.

    `changes` are those since the same controller looked last, None when it must look at all: a
    plan may leave out what they do not concern.
    """

    def __init__(self, state: ClusterState, changes: Sequence[Change] | None = None) -> None:
        self._state = state
        self.changes = changes
        self.now = state.clock()
        self.now_text = format_time(self.now)
        self.table = state.table

    def all(self, resource: ResourceDef, namespace: str = "") -> list[Object]:
        """Return the objects of a kind, ordered by namespace and name."""
        return self._state.list(resource, namespace)

    def find(self, resource: ResourceDef, key: Key) -> Object | None:
        """Return one object, or None."""
        return self._state.find(resource, key.name, key.namespace)

    def unsorted(self, resource: ResourceDef, namespace: str = "") -> Iterator[Object]:
        """Yield the objects of a kind in no order: many times faster, where there are many."""
        return (held.object for held in self._state.store.items(resource, namespace))

    @cached_property
    def pods(self) -> list[Object]:
        """All pods."""
        return self.all(POD)

    @cached_property
    def nodes(self) -> list[Object]:
        """All nodes."""
        return self.all(NODE)

    @cached_property
    def pods_by_controller(self) -> dict[str, list[Object]]:
        """The pods of each controller, by its uid."""
        found: defaultdict[str, list[Object]] = defaultdict(list)
        for pod in self.pods:
            found[controller_uid(pod)].append(pod)
        return found

    def pods_of(self, owner: Object) -> list[Object]:
        """Return the pods that `owner` controls."""
        return self.pods_by_controller.get(uid_of(owner), [])

    def is_available(self, pod: Object, min_ready_s: int) -> bool:
        """Say whether the pod is ready, and has been for `min_ready_s` seconds."""
        if not is_pod_ready(pod):
            return False
        since = (condition_of(pod, "Ready") or {}).get("lastTransitionTime")
        return not min_ready_s or bool(since and parse_time(since) + min_ready_s <= self.now)


def is_active(pod: Object) -> bool:
    """Say whether the pod counts as a replica: neither finished nor going away."""
    return not is_pod_finished(pod) and not is_terminating(pod)


def age_order(obj: Object) -> tuple[str, str]:
    """Order objects by age, the oldest first."""
    return (str(metadata(obj).get("creationTimestamp", "")), str(metadata(obj).get("name", "")))
