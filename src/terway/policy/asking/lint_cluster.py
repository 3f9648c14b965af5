"""Which policies do not fit the cluster: nobody selected, nobody named, names not resolved?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from terway.model.address import IPAddress
from terway.policy.asking.lint import Around, Finding, Level
from terway.policy.asking.matrix_groups import Group, World
from terway.policy.asking.matrix_ports import FREE, PortMatrix
from terway.policy.asking.matrix_rules import is_peer_pod, rules_in
from terway.policy.asking.representatives import Holder, blocks_of, selects
from terway.policy.asking.representatives_space import nets_of
from terway.policy.cluster import Cluster, Protocol
from terway.policy.compiling.nets import Nets, number_of
from terway.policy.policies import (
    BlockPeer,
    Direction,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    PortName,
    Rule,
)
from terway.policy.ports import NOTHING, PortSet, ports_of

_DNS = ports_of(Protocol.UDP, 53, 53) | ports_of(Protocol.TCP, 53, 53)
_DNS_LABEL = ("k8s-app", "kube-dns")  # of CoreDNS, too: documentation "DNS for Services and Pods"


def misfitting(
    cluster: Cluster, policies: Iterable[Policy], holders: Sequence[Holder], around: Around
) -> Iterator[Finding]:
    """Yield what is odd about policies in a cluster that has pods."""
    policies = tuple(policies)
    pods = [one for one in holders if one.pod is not None]
    addresses = {one.address: str(one.pod.key) for one in pods if one.pod is not None}
    nets = nets_of(blocks_of(policies))
    real = _inside(nets, addresses if around.has_real_addresses else {})
    services = _inside(nets, around.services)
    names = {port.name for pod in cluster.pods.values() for port in pod.ports}
    for policy in policies:
        if not any(one.pod and selects(policy, one.pod, one.namespace) for one in pods):
            yield _selects_nobody(policy)
            continue
        for direction in Direction:
            for rule in rules_in(policy, direction):
                place = _Place(policy, direction, rule)
                yield from _names(place, names)
                yield from _nobody(place, holders)
                yield from _blocks(place, real, services)


class _Place:
    """A rule, and how findings about it begin."""

    def __init__(self, policy: Policy, direction: Direction, rule: Rule) -> None:
        self.policy, self.direction, self.rule = policy, direction, rule

    def finding(self, code: str, text: str, remedy: str, level: Level = Level.WARNING) -> Finding:
        return Finding(
            code=code,
            level=level,
            policy=self.policy.key,
            direction=self.direction,
            rule=self.rule.index,
            text=text,
            remedy=remedy,
        )


def _selects_nobody(policy: Policy) -> Finding:
    return Finding(
        code="selects-nobody",
        level=Level.WARNING,
        policy=policy.key,
        text="selects no pod of the cluster",
        remedy="compare its selector with the labels of the pods, and its namespace",
    )


def _names(place: _Place, names: set[str]) -> Iterator[Finding]:
    for port in place.rule.ports or ():
        if isinstance(port, PortName) and port.name not in names:
            text = f"no container of the cluster has a port named {port.name!r}: matches nothing"
            yield place.finding("unknown-port-name", text, "write the number, or name the port")


def _nobody(place: _Place, holders: Sequence[Holder]) -> Iterator[Finding]:
    for peer in place.rule.peers or ():
        if isinstance(peer, PodPeer | NodePeer) and not any(_is(peer, one) for one in holders):
            kind = "pod" if isinstance(peer, PodPeer) else "node"
            text = f"a peer of the rule matches no {kind} of the cluster"
            remedy = "compare its selectors with the labels of pods, namespaces and nodes"
            yield place.finding("peer-nobody", text, remedy)


def _is(peer: Peer, holder: Holder) -> bool:
    if isinstance(peer, PodPeer):
        return is_peer_pod(peer, holder)
    return isinstance(peer, NodePeer) and any(
        peer.nodes.matches(node.labels) for node in holder.nodes
    )


def _inside(nets: Nets[BlockPeer], named: Mapping[IPAddress, str]) -> dict[BlockPeer, list[str]]:
    found: dict[BlockPeer, list[str]] = {}
    for address, name in named.items():
        for block in nets.at(number_of(address)):
            found.setdefault(block, []).append(name)
    return found


def _blocks(
    place: _Place, pods: dict[BlockPeer, list[str]], services: dict[BlockPeer, list[str]]
) -> Iterator[Finding]:
    for peer in place.rule.peers or ():
        if isinstance(peer, BlockPeer) and peer in pods:
            some = ", ".join(sorted(pods[peer])[:2])
            text = f"{peer.block} has addresses of {len(pods[peer])} pods ({some}): it matches them"
            remedy = "if only outside is meant, except the pods' range"
            yield place.finding("block-has-pods", text, remedy, Level.NOTE)
        if isinstance(peer, BlockPeer) and peer in services and peer.block.prefixlen > 0:
            some = ", ".join(sorted(services[peer])[:2])
            text = f"{peer.block} has addresses of services ({some}): those match nothing, policy "
            text += "sees the pod behind"
            yield place.finding("block-has-services", text, "select the pods behind the service")


def without_dns(matrix: PortMatrix, world: World) -> Iterator[Finding]:
    """Yield the policies that isolate pods on egress which then cannot ask for names.

    `world` tells who `is_dns`.
    """
    servers = [one for one in world.groups if is_dns(one.first)]
    for group in world.groups:
        row = group.egress[0]
        if row == FREE or group.first.pod is None:
            continue
        reached = _dns_ports(matrix, world, group, servers)
        isolating = [one for one in matrix.policies_of_row(row) if isinstance(one, NetworkPolicy)]
        if isolating and _DNS - reached:
            yield _dns_finding(isolating[0], group, _DNS - reached)


def is_dns(holder: Holder) -> bool:
    """Return whether the holder is a pod that answers for names."""
    pod = holder.pod
    return pod is not None and pod.labels.get(_DNS_LABEL[0]) == _DNS_LABEL[1]


def _dns_ports(matrix: PortMatrix, world: World, group: Group, servers: Sequence[Group]) -> PortSet:
    """Return on which ports a group reaches a name server; anybody, where none is known."""
    reached = NOTHING
    for other in servers or world.groups:
        reached |= matrix.ports(group.egress[0], other.columns[0])
    return reached


def _dns_finding(policy: NetworkPolicy, group: Group, lacking: PortSet) -> Finding:
    ports = " and ".join(f"{protocol.value} {first}" for protocol, first, _ in lacking)
    pods = ", ".join(str(key) for key in list(group.keys)[:2])
    return Finding(
        code="no-dns",
        level=Level.WARNING,
        policy=policy.key,
        text=f"pods it isolates on egress ({pods}) cannot reach DNS on {ports}",
        remedy="allow UDP and TCP 53 to the pods k8s-app=kube-dns in kube-system",
    )
