"""How does the field say the same in iptables? As Calico's Felix does, which Terway itself ran.

    FORWARD ─► cali-FORWARD ─┬─ -i cali+ ─► dispatch ─► cali-fw-<link>  established: accepted
                             └─ -o cali+ ─► dispatch ─► cali-tw-<link>  the same, then one policy
                                                          after the other until one accepts
    cali-pi-<policy>:  -p tcp --dport N, source in the ipset of the peer: mark as accepted

Source: projectcalico/felix, rules/endpoints.go, rules/policy.go and rules/dispatch.go; Terway's
policy container ran it with the NFT backend, which is Debian's own `iptables`, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.policy_world import World
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.policies import NetworkPolicy, PodPeer, PortRange

_ACCEPT = "0x10000/0x10000"
_PASS = "0x20000/0x20000"
_ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED"
_INVALID = "-m conntrack --ctstate INVALID -j DROP"


@dataclass(frozen=True, slots=True, kw_only=True)
class FelixRules:
    """What ``ipset restore`` and ``iptables-restore`` read."""

    ipsets: str
    iptables: str


def felix_rules(world: World, links: Mapping[PodKey, str], node: NodeName) -> FelixRules:
    """Return the rules of a node, whose pods have the `links`, for ingress by pods and ports."""
    here = [pod for pod in world.cluster.pods.values() if pod.node == node]
    selecting = {pod.key: _selecting(pod, world.policies) for pod in here}
    used = {policy.key: policy for found in selecting.values() for policy in found}
    chains = [
        *_policy_chains(world, tuple(used.values())),
        *(line for pod in here for line in _pod_chains(links[pod.key], selecting[pod.key])),
        *_dispatch("cali-from-wl", "-i", "cali-fw-", sorted(links.values())),
        *_dispatch("cali-to-wl", "-o", "cali-tw-", sorted(links.values())),
        *_forward(),
    ]
    return FelixRules(
        ipsets="\n".join(_ipsets(world.cluster, tuple(used.values()))) + "\n",
        iptables="\n".join(["*filter", *_declared(chains), *chains, "COMMIT"]) + "\n",
    )


def _selecting(pod: Pod, policies: Sequence[NetworkPolicy]) -> list[NetworkPolicy]:
    return [
        policy
        for policy in policies
        if policy.key.namespace == pod.key.namespace and policy.pods.matches(pod.labels)
    ]


def _declared(lines: Sequence[str]) -> Iterator[str]:
    """Yield the declarations of the chains that have rules."""
    for name in dict.fromkeys(line.split()[1] for line in lines):
        yield f":{name} {'ACCEPT' if name == 'FORWARD' else '-'} [0:0]"


def _forward() -> Iterator[str]:
    yield "-A FORWARD -j cali-FORWARD"
    yield f"-A FORWARD -m mark --mark {_ACCEPT} -j ACCEPT"
    yield "-A cali-FORWARD -j MARK --set-xmark 0x0/0x30000"
    yield "-A cali-FORWARD -i cali+ -j cali-from-wl"
    yield "-A cali-FORWARD -o cali+ -j cali-to-wl"


def _dispatch(chain: str, flag: str, prefix: str, links: Sequence[str]) -> Iterator[str]:
    """Yield the way to a link's own chain: by the last character but one, then by the link.

    Felix makes a tree of prefixes; two levels are that for links that are numbered.
    """
    for stem in sorted({link[:-1] for link in links}):
        yield f"-A {chain} {flag} {stem}+ -g {chain}-{stem[-2:]}"
    yield f"-A {chain} -j DROP"
    for link in links:
        yield f"-A {chain}-{link[:-1][-2:]} {flag} {link} -g {prefix}{link}"
    for stem in sorted({link[:-1] for link in links}):
        yield f"-A {chain}-{stem[-2:]} -j DROP"


def _pod_chains(link: str, policies: Sequence[NetworkPolicy]) -> Iterator[str]:
    yield from _way_in(f"cali-tw-{link}", [f"cali-pi-{policy.key.name}" for policy in policies])
    yield from _way_in(f"cali-fw-{link}", [])


def _way_in(chain: str, policies: Sequence[str]) -> Iterator[str]:
    yield f"-A {chain} {_ESTABLISHED} -j ACCEPT"
    yield f"-A {chain} {_INVALID}"
    yield f"-A {chain} -j MARK --set-xmark 0x0/0x10000"
    if not policies:  # the profile of its namespace, which allows
        yield f"-A {chain} -j MARK --set-xmark {_ACCEPT}"
        return
    yield f"-A {chain} -j MARK --set-xmark 0x0/0x20000"
    for policy in policies:
        yield f"-A {chain} -m mark --mark 0x0/0x20000 -j {policy}"
        yield f"-A {chain} -m mark --mark {_ACCEPT} -j RETURN"
    yield f"-A {chain} -m mark --mark 0x0/0x20000 -j DROP"


def _policy_chains(world: World, policies: Sequence[NetworkPolicy]) -> Iterator[str]:
    for policy in policies:
        chain = f"cali-pi-{policy.key.name}"
        for number, _, port in _peers_and_ports(policy):
            yield (
                f"-A {chain} -p tcp -m set --match-set {_set_name(policy, number)} src"
                f" -m multiport --dports {_ports(port)}"
                f" -j MARK --set-xmark {_ACCEPT}"
            )
            yield f"-A {chain} -m mark --mark {_ACCEPT} -j RETURN"


def _ipsets(cluster: Cluster, policies: Sequence[NetworkPolicy]) -> Iterator[str]:
    by_label = _by_label(cluster)
    for policy in policies:
        for number, peer, _ in _peers_and_ports(policy):
            name = _set_name(policy, number)
            yield f"create {name} hash:net family inet maxelem 1048576"
            (wanted,) = peer.pods.requirements
            for value in wanted.values:
                for address in by_label.get((wanted.key, value), ()):
                    yield f"add {name} {address}"


def _by_label(cluster: Cluster) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for pod in cluster.pods.values():
        for label in pod.labels.items():
            found.setdefault(label, []).extend(str(address) for address in pod.addresses)
    return found


def _peers_and_ports(policy: NetworkPolicy) -> Iterator[tuple[int, PodPeer, PortRange]]:
    for rule in policy.ingress or ():
        for number, peer in enumerate(rule.peers or ()):
            for port in rule.ports or ():
                assert isinstance(peer, PodPeer)
                assert isinstance(port, PortRange)
                yield number, peer, port


def _ports(port: PortRange) -> str:
    return str(port.first) if port.first == port.last else f"{port.first}:{port.last}"


def _set_name(policy: NetworkPolicy, number: int) -> str:
    return f"cali40s-{policy.key.name}-{number}"
