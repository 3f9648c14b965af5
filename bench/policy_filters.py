"""How does a world's policy get into a node's namespace? By each of the packet filters compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import IPv4Address

from tests.support.netns import ScratchNetns
from tests.support.place import Place

from bench.policy_ebpf import put_up_ebpf
from bench.policy_iptables import felix_rules
from bench.policy_world import NODE, SERVER, Shape, World, world_of
from terway.linux.netns import open_netns
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.address import IPPair
from terway.policy.changes import (
    Attach,
    ClusterChange,
    SetNamespace,
    SetNode,
    SetPod,
    SetPolicy,
)
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiled import Compiled
from terway.policy.compiling.compiler import Compiler
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import Place as Seat

TABLE = "terway_policy"

PutUp = Callable[[ScratchNetns, World], Awaitable[None]]


def links_of() -> dict[PodKey, str]:
    """Return the host's side of each local pod's veth; only the server's is really there."""
    local = _local_pods(world_of(0, Shape.WORST))
    return {pod.key: f"cali{number:03}" for number, pod in enumerate(local)}


def compiled_of(world: World) -> Compiled:
    """Return what the measured node is to enforce."""
    compiler = Compiler(NODE)
    compiler.apply(_changes(world))
    return compiler.compiled()


def _changes(world: World) -> Iterator[ClusterChange]:
    cluster = world.cluster
    yield from (SetNamespace(namespace=one) for one in cluster.namespaces.values())
    yield from (SetNode(node=one) for one in cluster.nodes.values())
    yield from (SetPod(pod=one) for one in cluster.pods.values())
    yield from (SetPolicy(policy=one) for one in world.policies)
    for pod in _local_pods(world):
        (address,) = pod.addresses
        assert isinstance(address, IPv4Address)
        yield Attach(key=pod.key, addresses=IPPair(v4=address))


def _local_pods(world: World) -> list[Pod]:
    return [pod for pod in world.cluster.pods.values() if pod.node == NODE]


async def put_up_nft(node: ScratchNetns, world: World) -> None:
    """Have terwayd's table in force, as it is made at its start."""
    compiled = await asyncio.to_thread(compiled_of, world)
    transactions = Printer(Seat.NODE).adopt(compiled, links_of(), None)
    with open_netns(node.path) as opened, open_nft_socket(opened.fd) as nft:
        nft.change(TABLE, transactions)


async def put_up_iptables(node: ScratchNetns, world: World) -> None:
    """Load Felix's rules."""
    rules = felix_rules(world, links_of(), NODE)
    place = Place().in_netns(node.path)
    await place.run("ipset", "restore", stdin=rules.ipsets)
    await place.run("iptables-nft-restore", stdin=rules.iptables)


async def put_up_maps(node: ScratchNetns, world: World) -> None:
    """Have the data path in eBPF judge, as terwayd does at its start."""
    compiled = await asyncio.to_thread(compiled_of, world)
    await put_up_ebpf(node, compiled, links_of()[SERVER])


FILTERS: Mapping[str, PutUp] = {
    "nft": put_up_nft,
    "ebpf": put_up_maps,
    "iptables": put_up_iptables,
}
