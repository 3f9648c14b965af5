"""Where on this node are policies enforced, and what should be enforced there? Pure.

Worked out anew from the journal and the API, beside what terwayd has of it: a tool that asked
terwayd for its wish would never find that terwayd wishes the wrong thing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from terway.datapath.names import host_link_name
from terway.model.address import IPPair
from terway.model.attachment import Attachment
from terway.model.ids import NodeName
from terway.model.interface import Mode
from terway.model.nft import Table
from terway.policy.changes import (
    Attach,
    ClusterChange,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Cluster, PodKey
from terway.policy.compiled import Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.nft.lift import lift
from terway.policy.nft.skeleton import Place
from terway.policy.nft.verify import Difference, verify
from terway.policy.policies import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One table of rules: the node's (`netns` empty), or that inside of one pod with an ENI.

    `links` are the interfaces at which pods are known there; of a pod with several, the other ones
    are under names that no pod can have, as terwayd numbers them.
    """

    netns: str
    pod: PodKey | None
    links: Mapping[PodKey, str]

    @property
    def where(self) -> str:
        """Return the place in words."""
        return "the node" if self.pod is None else f"inside pod {self.pod}"


def spots_of(attachments: Iterable[Attachment]) -> tuple[Spot, ...]:
    """Return the node's spot, and one for each pod that has an ENI itself."""
    held = [one for one in attachments if one.pod is not None]
    inside: dict[str, list[Attachment]] = {}
    for one in held:
        if one.spec.mode is Mode.EXCLUSIVE:
            inside.setdefault(one.netns, []).append(one)
    node = Spot(netns="", pod=None, links=_links(held, is_inside=False))
    pods = (
        Spot(netns=netns, pod=_key(found[0]), links=_links(found, is_inside=True))
        for netns, found in inside.items()
    )
    return (node, *pods)


def _links(attachments: Iterable[Attachment], *, is_inside: bool) -> dict[PodKey, str]:
    by_pod: dict[PodKey, dict[str, str]] = {}
    for one in sorted(attachments, key=lambda one: bool(one.spec.parent)):
        assert one.pod is not None
        link = one.key.ifname if is_inside else host_link_name(one.key, one.pod)
        by_pod.setdefault(_key(one), {})[link] = one.key.ifname
    return {
        key if at == 0 else replace(key, name=f"{key.name}/{ifname}"): link
        for key, links in by_pod.items()
        for at, (link, ifname) in enumerate(links.items())
    }


def _key(attachment: Attachment) -> PodKey:
    assert attachment.pod is not None
    return PodKey(namespace=attachment.pod.namespace, name=attachment.pod.name)


def wish_of(
    cluster: Cluster,
    policies: Iterable[Policy],
    attachments: Iterable[Attachment],
    node: NodeName,
) -> Compiled:
    """Return what this node has to enforce, compiled anew."""
    own: dict[PodKey, IPPair] = {
        _key(one): one.lease.addresses
        for one in attachments
        if one.pod is not None and not one.spec.parent
    }
    changes: list[ClusterChange] = [
        *(SetNamespace(namespace=one) for one in cluster.namespaces.values()),
        *(SetNode(node=one) for one in cluster.nodes.values()),
        *(SetPod(pod=one) for one in cluster.pods.values()),
        *(SetPolicy(policy=one) for one in policies),
        *(Attach(key=key, addresses=addresses) for key, addresses in own.items()),
    ]
    compiler = Compiler(node)
    compiler.apply(changes)
    return compiler.compiled()


def differences(wish: Compiled, spot: Spot, table: Table | None) -> Iterator[Difference]:
    """Yield where a table is not as it should be, for every address, protocol and port."""
    place = Place.NODE if spot.pod is None else Place.POD
    here = _here(wish, spot)
    if table is None and not here.sides:
        return  # nobody here is restricted, and nothing is there: as it should be
    yield from verify(place, here, spot.links, lift(place, table))


def missing_links(wish: Compiled, spot: Spot, names: Collection[str]) -> Iterator[str]:
    """Yield which restricted pods are not at the interface at which they are judged.

    `names` are those of all interfaces there.
    """
    restricted = _here(wish, spot).sides
    for pod, link in spot.links.items():
        if pod in restricted and link not in names:
            yield f"interface {link} of {pod} is not there: under another name nothing judges it"


def _here(wish: Compiled, spot: Spot) -> Compiled:
    """Return what concerns one spot: inside of a pod, its own rule sets only."""
    sides = {
        link: wish.sides[pod]
        for link in spot.links
        if (pod := replace(link, name=link.name.partition("/")[0])) in wish.sides
    }
    if spot.pod is None:
        return replace(wish, sides=sides)
    sides = {key: replace(one, own_node=None, itself=None) for key, one in sides.items()}
    used = {number for one in sides.values() for number in (one.ingress, one.egress)}
    rule_sets = {number: one for number, one in wish.rule_sets.items() if number in used}
    return replace(wish, sides=sides, rule_sets=rule_sets)
