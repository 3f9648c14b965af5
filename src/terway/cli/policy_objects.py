"""Which cluster and which policies do these objects make? Pure.

Who is not there is made up, and said: the pods of a workload of which no pod is among the objects,
an address for a pod that has none, a namespace that is only named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from terway.cli.policy_owners import owners_of
from terway.cli.policy_read import Found
from terway.cli.read_kube import addresses_of
from terway.model.address import IPAddress, IPNetwork
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.asking.representatives import blocks_of
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey
from terway.policy.policies import ClusterPolicy, NetworkPolicy, Policy, PolicyKey
from terway.policy.reading.closing import parse_or_close
from terway.policy.reading.parse import KINDS, parse_namespace, parse_node, parse_pod
from terway.policy.reading.parse_objects import namespace_labels

# Networks for tests between machines: nobody's pods have such addresses (RFC 2544, RFC 5180).
POD_CIDRS = (ip_network("198.18.0.0/15"), ip_network("2001:2::/48"))
MOST_REPLICAS = 2  # of a workload: enough to see whether they reach each other

_WORKLOADS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
)
_SILENT = (
    "Service",
    "Endpoints",
    "EndpointSlice",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Event",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """A cluster and its policies. `notes` are what a reader must know of how they were made.

    `services` are the addresses of services, by which no policy knows them; `owners` say who made
    a pod ("Deployment web"), where that is known.
    """

    cluster: Cluster
    policies: tuple[Policy, ...]
    origins: Mapping[PolicyKey, str]
    notes: tuple[str, ...] = ()
    services: Mapping[IPAddress, str] = field(default_factory=dict)
    owners: Mapping[PodKey, str] = field(default_factory=dict)
    has_real_addresses: bool = True

    @property
    def has_pods(self) -> bool:
        """Return whether there is any pod to speak of."""
        return bool(self.cluster.pods)


def manifests_of(found: Iterable[Found], *, pod_cidrs: Iterable[IPNetwork] = ()) -> Manifests:
    """Return what the objects make. Raises UsageError with the origin for one that is unreadable.

    A policy that can be read in part is closed, and named in the notes.
    """
    found = tuple(found)
    policies, origins = _policies(found)
    read = [(one, _read(one, parse_pod)) for one in found if one.raw["kind"] == "Pod"]
    pods = [pod for _, pod in read]
    live = [pod for one, pod in read if one.is_live]
    made = tuple(_made_pods(found, pods))
    named = [_read(one, parse_namespace) for one in found if one.raw["kind"] == "Namespace"]
    nodes = [_read(one, parse_node) for one in found if one.raw["kind"] == "Node"]
    free = [pod for one, pod in read if not one.is_live]
    free += [pod for pod, _ in made]
    placed, invented = _addressed(free, policies, tuple(pod_cidrs) or POD_CIDRS)
    placed = (*live, *placed)
    return Manifests(
        cluster=Cluster(
            namespaces=_namespaces(named, placed, policies),
            pods={pod.key: pod for pod in placed},
            nodes={node.name: node for node in nodes},
        ),
        policies=policies,
        origins=origins,
        notes=(*_notes(found, policies, origins), *_inventions(len(made), invented)),
        services=dict(_services(found)),
        owners={**owners_of(found), **{pod.key: owner for pod, owner in made}},
        has_real_addresses=not invented,
    )


def _policies(found: Iterable[Found]) -> tuple[tuple[Policy, ...], dict[PolicyKey, str]]:
    policies: dict[PolicyKey, Policy] = {}
    origins: dict[PolicyKey, str] = {}
    for one in found:
        if one.raw["kind"] in KINDS:
            policy = _read(one, parse_or_close)
            if policy.key in policies:
                raise UsageError(
                    f"{one.origin}: {policy.key} is in {origins[policy.key]}, too; take one away"
                )
            policies[policy.key] = policy
            origins[policy.key] = one.origin
    return tuple(policies.values()), origins


def _read(one: Found, reader: Any) -> Any:
    try:
        return reader(one.raw)
    except UsageError as error:
        metadata = one.raw.get("metadata")
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        text = f"{one.origin}: {one.raw['kind']} {name}: {error}"
        raise UsageError(text, field=error.field) from error


def _made_pods(found: Iterable[Found], pods: Iterable[Pod]) -> Iterator[tuple[Pod, str]]:
    """Yield pods of the workloads that have none among `pods`, and whose they are."""
    found = tuple(found)
    there = tuple(pods)
    nodes = [_read(one, parse_node) for one in found if one.raw["kind"] == "Node"]
    for one in found:
        kind = one.raw["kind"]
        if kind in _WORKLOADS:
            template = _read(one, _template)
            pod = parse_pod(template)
            if not any(_is_of(other, pod) for other in there):
                owner = f"{kind} {pod.key.name}"
                homes = nodes if kind == "DaemonSet" else ()
                yield from ((copy, owner) for copy in _replicas(pod, one.raw, homes))


def _template(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the pod that a workload makes, under the workload's own name."""
    spec = raw.get("spec") or {}
    if raw["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template, metadata = spec.get("template") or {}, raw.get("metadata") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if raw["kind"] in ("Job", "CronJob"):
        labels = {**labels, "batch.kubernetes.io/job-name": metadata.get("name")}
    named = {**metadata, "labels": labels}
    return {"kind": "Pod", "metadata": named, "spec": template.get("spec") or {}}


def _is_of(pod: Pod, made: Pod) -> bool:
    """Return whether a pod is one that the workload made: it has all labels of the template."""
    is_there = pod.key.namespace == made.key.namespace
    return is_there and made.labels.items() <= pod.labels.items() and bool(made.labels)


def _replicas(pod: Pod, raw: Mapping[str, Any], nodes: Iterable[Node]) -> Iterator[Pod]:
    wanted = (raw.get("spec") or {}).get("replicas", 1)
    count = min(wanted, MOST_REPLICAS) if isinstance(wanted, int) else 1
    homes: list[NodeName | None] = [node.name for node in nodes]
    homes = homes or [pod.node] * count
    for at, node in enumerate(homes):
        name = f"{pod.key.name}-{at}" if len(homes) > 1 else pod.key.name
        yield replace(pod, key=PodKey(namespace=pod.key.namespace, name=name), node=node)


def _addressed(
    pods: Iterable[Pod], policies: Iterable[Policy], cidrs: Iterable[IPNetwork]
) -> tuple[tuple[Pod, ...], int]:
    """Return the pods, all with addresses, and how many of them were made up.

    IPv6 only where a block of a policy could tell.
    """
    pods = tuple(pods)
    has_six = any(peer.block.version == 6 for peer in blocks_of(policies))
    has_six |= any(address.version == 6 for pod in pods for address in pod.addresses)
    used = [one for one in cidrs if one.version == 4 or has_six] or list(cidrs)
    taken = {address for pod in pods for address in pod.addresses}
    supplies = [_supply(net, taken) for net in used]
    placed, count = [], 0
    for pod in pods:
        if pod.addresses or pod.is_host_network or pod.is_finished:
            placed.append(pod)
        else:
            placed.append(replace(pod, addresses=tuple(next(one) for one in supplies)))
            count += 1
    return tuple(placed), count


def _supply(net: IPNetwork, taken: set[IPAddress]) -> Iterator[IPAddress]:
    hosts = (address for address in net.hosts() if address not in taken)
    yield from hosts
    raise UsageError(f"--pod-cidr {net}: too small for all pods without address; give a larger one")


def _namespaces(
    named: Iterable[Namespace], pods: Iterable[Pod], policies: Iterable[Policy]
) -> dict[str, Namespace]:
    implied = {pod.key.namespace for pod in pods}
    implied |= {one.key.namespace for one in policies if isinstance(one, NetworkPolicy)}
    spaces = {
        name: Namespace(name=name, labels=namespace_labels(name, {})) for name in sorted(implied)
    }
    return {**spaces, **{one.name: one for one in named}}


def _services(found: Iterable[Found]) -> Iterator[tuple[IPAddress, str]]:
    for one in found:
        if one.raw["kind"] == "Service":
            spec, metadata = one.raw.get("spec") or {}, one.raw.get("metadata") or {}
            texts = spec.get("clusterIPs") or [spec.get("clusterIP") or "None"]
            for address in addresses_of(str(text) for text in texts):
                yield address, f"{metadata.get('namespace', 'default')}/{metadata.get('name')}"


def _notes(
    found: Iterable[Found], policies: Iterable[Policy], origins: Mapping[PolicyKey, str]
) -> Iterator[str]:
    for policy in policies:
        if policy.fault:
            yield f"{origins[policy.key]}: {policy.key} is closed: {policy.fault}"
        others = policy.cautions if isinstance(policy, ClusterPolicy) else policy.more_faults
        for text in others:
            yield f"{origins[policy.key]}: {policy.key}: {text}"
    known = {"Pod", "Namespace", "Node", *_WORKLOADS, *_SILENT, *KINDS}
    passed = Counter(one.raw["kind"] for one in found if one.raw["kind"] not in known)
    if passed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
        yield f"passed over, because policy is not about them: {kinds}"


def _inventions(made: int, invented: int) -> Iterator[str]:
    if made:
        pods = "1 pod stands" if made == 1 else f"{made} pods stand"
        yield f"{pods} for the workloads of which no pod is there"
    if invented:
        pods = "1 pod" if invented == 1 else f"{invented} pods"
        yield f"made-up addresses for {pods} without any (--pod-cidr)"
