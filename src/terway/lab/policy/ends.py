"""Which real end, with which address, is meant by an end of a probe?

case address ──► real address      pods and nodes: theirs; outside: the same, where one can
             ──► network namespace    have it, else one of a range set apart
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from terway.lab.policy.blocks import Addresses
from terway.lab.policy.cases import Via
from terway.lab.policy.prober import Attempt
from terway.lab.policy.world import SUBSTITUTES
from terway.model.address import Family, IPAddress, IPNetwork, family_of
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Pod, PodKey
from terway.policy.ends import Party, nodes_with, owner_of, parties_of
from terway.policy.flow import AddressEnd, Flow

# What no host outside can have, or what others of the lab answer at.
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "224.0.0.0/3",
            "::/8",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A network namespace, by path, and its addresses."""

    netns: str
    addresses: tuple[IPAddress, ...]

    def address(self, family: Family) -> IPAddress | None:
        """Return the first address of a family."""
        return next((one for one in self.addresses if family_of(one) is family), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The ends of a state. `places` are by the addresses of the case; others are outside."""

    cluster: Cluster
    places: Mapping[IPAddress, Place]
    outside: Mapping[IPAddress, IPAddress]
    outside_netns: str
    family: Family | None = None  # for flows that do not say

    def attempt(self, flow: Flow, via: Via | None = None) -> Attempt:
        """Return the connection to be tried. UsageError for ends that cannot make it."""
        said = replace(flow, family=flow.family or self._family_of(flow, via))
        source, destination = parties_of(self.cluster, said)
        from_netns, from_address = self._end(source)
        to_netns, to_address = self._end(destination)
        return Attempt(
            source_netns=from_netns,
            source=from_address,
            destination_netns=to_netns,
            destination=to_address,
            protocol=flow.protocol,
            port=flow.port,
            via=(self.real(via.address), via.port) if via else None,
        )

    def _family_of(self, flow: Flow, via: Via | None) -> Family | None:
        """Return the family for a flow that does not say; an address in it does."""
        if via is not None:
            return family_of(via.address)
        ends = (flow.source, flow.destination)
        return None if any(isinstance(end, AddressEnd) for end in ends) else self.family

    def real(self, address: IPAddress) -> IPAddress:
        """Return the lab's address for one of the case; a service's is the same in both."""
        place = self.places.get(address)
        return (place.address(family_of(address)) if place else None) or address

    def _end(self, party: Party) -> tuple[str, IPAddress]:
        place = self.places.get(party.address)
        if place is None:
            return self.outside_netns, self.outside[party.address]
        family = family_of(party.address)
        address = place.address(family)
        if address is None:
            raise UsageError(f"{party.address}: the lab has no IPv{family.value}; start another")
        return place.netns, address


def places_of(
    cluster: Cluster, pods: Mapping[PodKey, Place], nodes: Mapping[NodeName, Place]
) -> dict[IPAddress, Place]:
    """Return who has each address of a case: pods on the host's network are their node."""
    found: dict[IPAddress, Place] = {}
    for node in cluster.nodes.values():
        found |= dict.fromkeys(node.addresses, nodes[node.name])
    for key, pod in cluster.pods.items():
        for address in pod.addresses:
            if _has(cluster, pod, address):
                found[address] = pods[key]
    return found


def _has(cluster: Cluster, pod: Pod, address: IPAddress) -> bool:
    if pod.is_finished:
        return False
    owner = owner_of(cluster, address)
    if pod.is_host_network:
        return owner is None and not (nodes_with(cluster, address) - {pod.node})
    return owner is not None and owner.key == pod.key


def outside_of(
    flows: Iterable[Flow], places: Mapping[IPAddress, Place], ranges: Sequence[IPNetwork]
) -> dict[IPAddress, IPAddress]:
    """Return the real addresses of the ends that are outside, by those of the case."""
    ends = [end for flow in flows for end in (flow.source, flow.destination)]
    wanted = {end.address for end in ends if isinstance(end, AddressEnd)} - places.keys()
    taken = (*_SPECIAL, *ranges)
    spare: dict[int, Iterator[IPAddress]] = {one.version: one.hosts() for one in SUBSTITUTES}
    return {
        address: next(spare[address.version])
        if any(address in one for one in taken if one.version == address.version)
        else address
        for address in sorted(wanted, key=lambda one: (one.version, int(one)))
    }


def real_addresses(ends: Ends, ranges: Sequence[IPNetwork]) -> Addresses:
    """Return what the addresses of the case are in the lab, for the blocks of policies."""
    real = dict(ends.outside)
    for address, place in ends.places.items():
        found = place.address(family_of(address))
        if found is not None:
            real[address] = found
    return Addresses(real=real, ranges=tuple(ranges))
