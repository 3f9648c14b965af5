"""How many addresses will the pods need that the scheduler has put on a node?

A pod counts as soon as it is scheduled, so its address is on its way before the kubelet asks. Who
has one already, by what the agent says it holds, does not count. Pods that only the agent sees
are those that wait there; most who wait are scheduled pods, so the larger number counts, not both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.config.requested_networks import asks_for_eni
from terway.controlplane.pools.facts import ERDMA
from terway.ipam.fit import ORDINARY
from terway.kube.clock import parse_time
from terway.kube.crds import NodeRuntimeStatus
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey
from terway.kube.types import Pod
from terway.model.interface import Placement

_ERDMA = Placement(is_erdma=True)
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Need:
    """What one pod needs of its node's pool, and since when."""

    uid: str
    is_erdma: bool
    since: str


def need_of(pod: Pod | None) -> Need | None:
    """Return what a pod needs; None for one that needs nothing of a pool."""
    if pod is None or not pod.spec.node_name or pod.spec.host_network:
        return None
    if pod.status.phase in _FINISHED or asks_for_eni(pod.metadata.annotations, is_central=True):
        return None
    limits = (one.resources.limits.get(ERDMA, "0") for one in pod.spec.containers)
    is_erdma = any(str(limit) != "0" for limit in limits)  # as the agent reads it
    since = pod.metadata.creation_timestamp or ""
    return Need(uid=pod.metadata.uid, is_erdma=is_erdma, since=since)


class PodsByNode:
    """Who needs addresses on which node. It is told each change of each pod, the first ones too."""

    def __init__(self) -> None:
        self._needs: defaultdict[str, dict[ObjectKey, Need]] = defaultdict(dict)

    def take(self, change: Change[Pod]) -> tuple[ObjectKey, ...]:
        """Take a change over; return the nodes whose demand it changes."""
        old, new = need_of(change.old), need_of(change.new)
        old_node = change.old.spec.node_name if change.old is not None else ""
        new_node = change.new.spec.node_name if change.new is not None else ""
        if old == new and old_node == new_node:
            return ()
        if old is not None:
            self._needs[old_node].pop(change.key, None)
        if new is not None:
            self._needs[new_node][change.key] = new
        touched = {old_node if old else "", new_node if new else ""} - {""}
        return tuple(ObjectKey(namespace="", name=name) for name in sorted(touched))

    def on(self, node: str) -> Iterable[Need]:
        """Return who needs addresses on a node."""
        return self._needs[node].values() if node in self._needs else ()

    def forget(self, node: str) -> None:
        """Forget a node that nobody is on."""
        if not self._needs.get(node):
            self._needs.pop(node, None)


def expected_on(
    needs: Iterable[Need], runtime: NodeRuntimeStatus, *, has_erdma: bool
) -> Mapping[Placement, int]:
    """Return how many will ask that have nothing yet, by wish."""
    served = {one.pod_uid for one in runtime.held.values() if one.pod_uid}
    wishes: Counter[Placement] = Counter()
    for need in needs:
        if need.uid not in served:
            wishes[_ERDMA if need.is_erdma and has_erdma else ORDINARY] += 1
    wishes[ORDINARY] += max(0, runtime.waiting - wishes.total())
    return wishes


def newest(needs: Iterable[Need], runtime: NodeRuntimeStatus) -> float:
    """Return when the newest pod came that has nothing yet; 0 when nobody waits."""
    served = {one.pod_uid for one in runtime.held.values() if one.pod_uid}
    since = max((one.since for one in needs if one.uid not in served), default="")
    return parse_time(since) if since else 0.0
