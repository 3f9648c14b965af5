"""What if a case is to be run in the other family? Its pods get addresses there, if that is all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network

from terway.lab.policy.manifests import Manifest, has_blocks
from terway.model.address import Family, IPAddress, family_of
from terway.model.errors import UsageError
from terway.policy.cluster import Cluster

_MADE_UP = {Family.V4: ip_network("198.19.0.0/16"), Family.V6: ip_network("2001:db8:fffe::/64")}


def in_family(cluster: Cluster, manifests: Sequence[Manifest], family: Family | None) -> Cluster:
    """Return the cluster in which all pods and nodes have an address of `family`.

    UsageError when some have to be given one, and policies name addresses: what they would say of
    it is not known.
    """
    if family is None:
        return cluster
    spare = _MADE_UP[family].hosts()
    made = replace(
        cluster,
        pods={
            key: pod
            if pod.is_host_network and not pod.addresses
            else replace(pod, addresses=tuple(_with(pod.addresses, family, spare)))
            for key, pod in cluster.pods.items()
        },
        nodes={
            name: replace(node, addresses=tuple(_with(node.addresses, family, spare)))
            for name, node in cluster.nodes.items()
        },
    )
    if made != cluster and has_blocks(manifests):
        raise UsageError(
            f"the case's ends have no IPv{family.value} addresses, and its policies name "
            f"addresses: run it without --family {family.value}"
        )
    return made


def _with(
    addresses: Sequence[IPAddress], family: Family, spare: Iterator[IPAddress]
) -> Iterator[IPAddress]:
    yield from addresses
    if not any(family_of(one) is family for one in addresses):
        yield next(spare)
