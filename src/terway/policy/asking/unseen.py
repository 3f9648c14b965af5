"""What has nobody ever been seen to do that policies allow, or would newly allow?

Between pods, by workload: what a group of pods may that policies treat alike, less what was seen
between the workloads of the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terway.model.selector import EVERYTHING
from terway.policy.asking.difference import PairChange, changes
from terway.policy.asking.matrix_groups import Group, Relation
from terway.policy.asking.representatives import holders_of
from terway.policy.asking.whatif import Seen
from terway.policy.cluster import Cluster, Pod, PodKey, Protocol
from terway.policy.policies import (
    Action,
    ClusterPolicy,
    Kind,
    PodPeer,
    Policy,
    PolicyKey,
    Rule,
    Tier,
)
from terway.policy.ports import NOTHING, PortSet, ports_of
from terway.policy.records.ends_cluster import ends_cluster
from terway.policy.records.recorded import RecordedEnd
from terway.policy.records.workload import workload_of

_NOBODYS: Mapping[PodKey, str] = {}
_DENY = (Rule(index=0, peers=None, ports=None, action=Action.DENY),)
_NOTHING_ALLOWED = ClusterPolicy(
    key=PolicyKey(kind=Kind.CLUSTER, name="nothing"),
    tier=Tier.ADMIN,
    priority=0,
    subject=PodPeer(namespaces=EVERYTHING, pods=EVERYTHING),
    ingress=_DENY,
    egress=_DENY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Ports on which all of `sources` could reach all of `destinations`, and none was seen to."""

    ports: PortSet
    sources: tuple[str, ...]
    destinations: tuple[str, ...]


def unseen(
    seen: Iterable[Seen],
    cluster: Cluster,
    policies: Iterable[Policy],
    now: Iterable[Policy] | None,
    *,
    owners: Mapping[PodKey, str] = _NOBODYS,
) -> tuple[Unseen, ...]:
    """Return what `policies` allow and `now` do not (None: whatever they allow), and nobody did.

    It is about the pods of `cluster`; where that has none, about those that were recorded. `owners`
    say whose a pod is that was not; of others their labels do.
    """
    seen = tuple(seen)
    if not cluster.pods:
        cluster = ends_cluster(_latest_owners(seen), cluster)
    policies = tuple(policies)
    before = (_NOTHING_ALLOWED,) if now is None else tuple(now)
    pods = [one for one in holders_of(cluster, (*policies, *before)) if one.pod is not None]
    whose = {**owners, **_recorded_owners(seen)}
    return _folded(changes(pods, before, policies), _ports_seen(seen), whose)


def _recorded_owners(seen: Iterable[Seen]) -> Mapping[PodKey, str]:
    """Return whose the recorded pods are, as it was recorded."""
    ends = (end for one in seen for end in (one.flow.source, one.flow.destination))
    return {end.pod: end.owner for end in ends if end.pod is not None}


def _latest_owners(seen: Iterable[Seen]) -> Iterable[RecordedEnd]:
    """Return the recorded pods; of several that had one address, the one that was seen last."""
    found = {
        one.address: one
        for flow in sorted((one.flow for one in seen), key=lambda flow: flow.time)
        for one in (flow.source, flow.destination)
        if one.pod is not None
    }
    return found.values()


def _ports_seen(seen: Iterable[Seen]) -> Mapping[tuple[str, str], PortSet]:
    ports: dict[tuple[str, str], PortSet] = defaultdict(PortSet)
    for one in seen:
        flow = one.flow.flow()
        number = flow.port if flow.protocol is not Protocol.OTHER else 0
        ports[one.parties] |= ports_of(flow.protocol, number, number)
    return ports


def _folded(
    changed: Iterable[PairChange],
    seen: Mapping[tuple[str, str], PortSet],
    owners: Mapping[PodKey, str],
) -> tuple[Unseen, ...]:
    sources: dict[tuple[PortSet, str], set[str]] = defaultdict(set)
    for change in changed:
        if not change.allowed or change.pair.relation is not Relation.STRANGERS:
            continue
        for destination in _owners(change.pair.destination, owners):
            for source in _owners(change.pair.source, owners):
                ports = change.allowed - seen.get((source, destination), NOTHING)
                if ports:
                    sources[ports, destination].add(source)
    destinations: dict[tuple[PortSet, tuple[str, ...]], list[str]] = defaultdict(list)
    for (ports, destination), found in sources.items():
        destinations[ports, tuple(sorted(found))].append(destination)
    return tuple(
        Unseen(ports=ports, sources=found, destinations=tuple(sorted(reached)))
        for (ports, found), reached in destinations.items()
    )


def _owners(group: Group, recorded: Mapping[PodKey, str]) -> tuple[str, ...]:
    pods = (one.pod for one in group.holders if one.pod is not None)
    return tuple(dict.fromkeys(recorded.get(one.key) or _owner(one) for one in pods))


def _owner(pod: Pod) -> str:
    return f"{pod.key.namespace}: {workload_of(pod.key, pod.labels)}"
