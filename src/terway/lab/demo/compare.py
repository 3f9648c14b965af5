"""How do the networks compare? The same workload on each, one after the other, as one table.

The rows are those of the documentation's table (performance, security, address management, load
balancer), the cells are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address
from typing import Any

from terway.lab.demo.measure import Measurement, choose_paths, measure, tool_at
from terway.lab.demo.outside import outside_host
from terway.lab.demo.summary import align
from terway.lab.flannel.plan import BLOCK_PREFIX_LENGTH
from terway.lab.world.client import LabClient
from terway.lab.world.plan import PodNetwork
from terway.model.address import Family

Json = Mapping[str, Any]

NODES = 2
_TITLES = {
    PodNetwork.TERWAY: "Terway",
    PodNetwork.FLANNEL_VXLAN: "Flannel VXLAN",
    PodNetwork.FLANNEL_VPC: "Flannel VPC",
}
_PER_BLOCK: int = 2 ** (32 - BLOCK_PREFIX_LENGTH) - 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was measured of one network. `nodes` is the same path without any pod network."""

    network: PodNetwork
    pods: Measurement
    nodes: Measurement
    ready_s: float
    held: int  # addresses that are kept for pods, whether pods have them or not
    used: int
    are_of_the_vpc: bool
    is_seen_outside: bool  # a host of the VPC sees the pod's own address
    is_reached_from_outside: bool  # and reaches the pod by it


def compare(
    network: PodNetwork, client: LabClient, ready_s: float, note: Callable[[str], None]
) -> Comparison:
    """Measure a lab in which the workload runs; `ready_s` is how long it took to be Ready."""
    status = client.status()
    paths = choose_paths(status)
    source, destination = paths["pod to pod, across nodes"]
    note(f"{_TITLES[network]}: pods")
    (between_pods,) = measure({"pods": (source, destination)}, [Family.V4], client.words)
    note(f"{_TITLES[network]}: nodes")
    ends = paths["pod to its node"][1], paths["pod to another node"][1]
    (between_nodes,) = measure({"nodes": ends}, [Family.V4], client.words)
    note(f"{_TITLES[network]}: a host outside of the cluster")
    with outside_host(client) as outside:
        seen = outside.seen_from(tool_at(source, client.words))
        is_reached = outside.reaches(between_pods.destination)
    addresses = _pod_addresses(status)
    vpc = IPv4Network(status["vpc"]["cidr"])
    return Comparison(
        network=network,
        pods=between_pods,
        nodes=between_nodes,
        ready_s=ready_s,
        held=_held(network, status),
        used=len(addresses),
        are_of_the_vpc=all(ip_address(one) in vpc for one in addresses),
        is_seen_outside=seen == between_pods.source,
        is_reached_from_outside=is_reached,
    )


def comparison_table(found: Sequence[Comparison]) -> list[str]:
    """Return the table, a column for each network."""
    rows: list[tuple[str, ...]] = [("", *(_TITLES[one.network] for one in found))]
    for title, cell in _ROWS:
        rows.append((title, *map(cell, found)))
    return align(rows)


def _held(network: PodNetwork, status: Json) -> int:
    if network is PodNetwork.TERWAY:
        return sum(len(eni["ipv4"]) for eni in status["enis"] if eni["type"] != "Primary")
    nodes: Sequence[Json] = status["nodes"]
    return _PER_BLOCK * len(nodes)


def _pod_addresses(status: Json) -> list[str]:
    return [pod["addresses"][0] for pod in status["pods"] if not pod["host_network"]]


def _times(value: float, reference: float) -> str:
    return f"{value / reference:.2f}x"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_ROWS: tuple[tuple[str, Callable[[Comparison], str]], ...] = (
    ("round trip, pod to pod", lambda one: f"{one.pods.rtt_us:.0f} us"),
    ("  against node to node", lambda one: _times(one.pods.rtt_us, one.nodes.rtt_us)),
    ("throughput, pod to pod", lambda one: f"{one.pods.bits_per_s / 1e9:.1f} Gbit/s"),
    ("  against node to node", lambda one: _times(one.pods.bits_per_s, one.nodes.bits_per_s)),
    ("workload Ready after", lambda one: f"{one.ready_s:.1f} s"),
    ("pods have VPC addresses", lambda one: _yes(one.are_of_the_vpc)),
    ("addresses held for pods", lambda one: f"{one.held} for {one.used}"),
    ("seen outside as itself", lambda one: _yes(one.is_seen_outside)),
    ("reached from outside", lambda one: _yes(one.is_reached_from_outside)),
)
