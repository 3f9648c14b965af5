"""Who could be in any cluster at all, as far as policies can tell?

One pod for each kind of namespace, of labels, of names for ports, and of address; one node and one
address outside likewise. A packet that two sets of policies judge differently in some cluster is
then one between two of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations

from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.model.selector import EVERYTHING, Labels, Selector
from terway.policy.asking.representatives import Holder, blocks_of, peers_of, rules_of
from terway.policy.asking.representatives_labels import label_cells, name_selector
from terway.policy.asking.representatives_space import Spans, address_cells, usual_number
from terway.policy.cluster import NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.compiling.nets import address_of, number_of
from terway.policy.policies import (
    ClusterPolicy,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    PortName,
    PortRange,
)
from terway.policy.ports import LAST_PORT
from terway.policy.reading.parse_objects import NAME_LABEL

MOST_NAMES = 6  # of ports: each pod may have any of the sets of them
MOST_HOLDERS = 100_000
_PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


def any_holders(
    policies: Iterable[Policy],
    *,
    namespaces: Mapping[str, Namespace] | None = None,
    most: int = MOST_HOLDERS,
) -> tuple[Holder, ...]:
    """Return the holders that any cluster could have, as far as `policies` can tell.

    `namespaces` are known to be there with these labels. Raises UsageError when there are more than
    `most`.
    """
    policies = tuple(policies)
    families = _families(policies)
    blocks = blocks_of(policies)
    cells = [
        spans
        for family in families
        for spans in address_cells((b for b in blocks if family_of(b.block) is family), family)
    ]
    pods = list(_pods(policies, namespaces or {}))
    nodes = list(_nodes(policies))
    count = (len(pods) + len(nodes) + 1) * len(cells)
    if count > most:
        raise UsageError(
            f"the policies tell {count:,} kinds of pods apart, more than {most:,}; give "
            "the pods of a cluster, too (-f), and the answer is for that cluster"
        )
    return tuple(chain.from_iterable(_at(spans, pods, nodes) for spans in cells))


def _families(policies: Sequence[Policy]) -> tuple[Family, ...]:
    """Return the families to look at: IPv6 only where a block can tell it from IPv4."""
    named = {family_of(block.block) for block in blocks_of(policies)}
    return tuple(Family) if named else (Family.V4,)


def _at(
    spans: Spans, pods: Iterable[tuple[Pod, Labels]], nodes: Iterable[Node]
) -> Iterator[Holder]:
    address = address_of(usual_number(spans))
    for pod, labels in pods:
        placed = _with_address(pod, address)
        yield Holder(address=address, pod=placed, namespace=labels, spans=spans)
    for node in nodes:
        there = Node(name=node.name, labels=node.labels, addresses=(address,))
        yield Holder(address=address, nodes=(there,), spans=spans)
    yield Holder(address=address, spans=spans)


def _with_address(pod: Pod, address: IPAddress) -> Pod:
    name = f"{pod.key.name}-{number_of(address) & 0xFFFFFF:x}"
    return Pod(
        key=PodKey(namespace=pod.key.namespace, name=name),
        labels=pod.labels,
        addresses=(address,),
        ports=pod.ports,
    )


def _pods(
    policies: Sequence[Policy], known: Mapping[str, Namespace]
) -> Iterator[tuple[Pod, Labels]]:
    variants = _port_variants(policies)
    for number, labels in enumerate(_namespaces(policies, known)):
        name = labels[NAME_LABEL]
        wanted = _pod_selectors(policies, name, labels)
        for at, pod_labels in enumerate(label_cells(wanted)):
            for variant, ports in enumerate(variants):
                key = PodKey(namespace=name, name=f"pod-{number}-{at}-{variant}")
                yield Pod(key=key, labels=pod_labels, ports=ports), labels


def _namespaces(policies: Sequence[Policy], known: Mapping[str, Namespace]) -> Iterator[Labels]:
    """Yield the labels of every kind of namespace; those of a known one are what they are."""
    selectors = [
        peer.namespaces for peer in _pod_peers(policies) if isinstance(peer.namespaces, Selector)
    ]
    names = sorted({*_namespace_names(policies), *known})
    wanted = (*selectors, *(name_selector(NAME_LABEL, name) for name in names))
    for labels in label_cells(wanted, always=(NAME_LABEL,)):
        if labels.get(NAME_LABEL, "") not in known:
            yield {NAME_LABEL: "other", **labels}
    for namespace in known.values():
        yield namespace.labels


def _pod_peers(policies: Iterable[Policy]) -> Iterator[PodPeer]:
    policies = tuple(policies)
    yield from (one.subject for one in policies if isinstance(one, ClusterPolicy))
    yield from (peer for peer in peers_of(policies) if isinstance(peer, PodPeer))


def _namespace_names(policies: Iterable[Policy]) -> set[str]:
    policies = tuple(policies)
    own = {one.key.namespace for one in policies if isinstance(one, NetworkPolicy)}
    peers = {one.namespaces for one in _pod_peers(policies)}
    return own | {one for one in peers if isinstance(one, str)}


def _pod_selectors(policies: Iterable[Policy], name: str, labels: Labels) -> Iterator[Selector]:
    """Yield the selectors that could see a pod of such a namespace."""
    policies = tuple(policies)
    for policy in policies:
        if isinstance(policy, NetworkPolicy) and policy.key.namespace == name:
            yield policy.pods
    for peer in _pod_peers(policies):
        if isinstance(peer.namespaces, str):
            is_there = peer.namespaces == name
        else:
            is_there = peer.namespaces.matches(labels)
        if is_there:
            yield peer.pods


def _nodes(policies: Iterable[Policy]) -> Iterator[Node]:
    peers: dict[Peer, None] = peers_of(policies)
    selectors = [peer.nodes for peer in peers if isinstance(peer, NodePeer)] or [EVERYTHING]
    for at, labels in enumerate(label_cells(selectors)):
        yield Node(name=NodeName(f"node-{at}"), labels=labels)


def _port_variants(policies: Sequence[Policy]) -> tuple[tuple[NamedPort, ...], ...]:
    """Return the names that a pod can have, for each port that matters.

    What is said of a port depends only on which names the destination has for that very port: so a
    variant has the same set of names for one port of every interval that policies can tell apart.
    """
    ports = [p for one in policies for rule in rules_of(one) for p in rule.ports or ()]
    names = sorted({port.name for port in ports if isinstance(port, PortName)})
    if len(names) > MOST_NAMES:
        raise UsageError(
            f"{len(names)} names of ports ({', '.join(names[:3])}, …) have too many combinations; "
            "give the pods of a cluster, too (-f), and the answer is for that cluster"
        )
    ranges = [port for port in ports if isinstance(port, PortRange)]
    numbers = {protocol: _first_numbers(ranges, protocol) for protocol in _PROTOCOLS}
    sets = chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
    return tuple(_named(chosen, numbers) for chosen in sets)


def _named(
    names: Iterable[str], numbers: Mapping[Protocol, Sequence[int]]
) -> tuple[NamedPort, ...]:
    return tuple(
        NamedPort(name=name, protocol=protocol, port=number)
        for name in names
        for protocol in _PROTOCOLS
        for number in numbers[protocol]
    )


def _first_numbers(ranges: Iterable[PortRange], protocol: Protocol) -> list[int]:
    """Return one number of every interval that ranges of a protocol cut; 0 has no name."""
    mine = [one for one in ranges if one.protocol is protocol]
    edges = {1, *(one.first for one in mine), *(one.last + 1 for one in mine)}
    return sorted(edge for edge in edges if 1 <= edge <= LAST_PORT)
