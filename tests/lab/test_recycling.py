"""An address goes from pod to pod in a real kernel; packets of old pods' peers stay away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import pytest

from terway.agent.pool import PoolService
from terway.agent.pool_calls import Ports
from terway.agent.pool_ports import ConntrackPort
from terway.linux.kernel import Kernel, open_kernel
from terway.model.address import Family, IPAddress
from terway.store.memory import Disk, MemoryStore
from tests.support.model_cloud import ModelCloud
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.pool_world import AsyncCloud, ReadyLinks, owner, pool_config

pytestmark = pytest.mark.lab

VIP, PORT = "10.96.0.1", 5300
NOBODY = "10.9.9.9"  # a backend on another node, say
ROUNDS = 40
PODS = ("pod-a", "pod-b")

# client 192.0.2.2 ── node ── pod-a, pod-b: the one that has the pool's only address now.
WIRE = """
ip link add {name} type veth peer name eth0 netns {peer}
ip link set {name} up
nsenter --net={peer} ip link set eth0 up
"""
NODE = """
sysctl -qw net.ipv4.ip_forward=1
ip address add 192.0.2.1/24 dev client
ip route add blackhole 10.9.9.9
nft -f - <<'END'
table ip service {
  chain prerouting { type nat hook prerouting priority -100; }
}
END
"""


class KernelConntrack:
    """The pool's port, on the kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def delete_entries(self, addresses: Collection[IPAddress]) -> None:
        await self._kernel.forget_connections(addresses)


@contextmanager
def nodes() -> Iterator[dict[str, ScratchNetns]]:
    with ExitStack() as stack:
        names = ("node", "client", *PODS)
        found = {name: stack.enter_context(scratch_netns(name)) for name in names}
        for name in ("client", *PODS):
            found["node"].run(WIRE.format(name=name, peer=found[name].path))
        found["node"].run(NODE)
        route = "ip route add default via 192.0.2.1"
        found["client"].run(f"ip address add 192.0.2.2/24 dev eth0; {route}")
        yield found


def move_in(found: dict[str, ScratchNetns], name: str, address: IPAddress) -> None:
    """Let a pod have the address, and the service lead to it."""
    found[name].run(f"ip address replace {address}/32 dev eth0")
    found["node"].run(f"ip route replace {address}/32 dev {name}")
    lead_to(found["node"], str(address))


def lead_to(node: ScratchNetns, address: str) -> None:
    """Let the service have one backend."""
    rule = f"ip daddr {VIP} udp dport {PORT} dnat to {address}:{PORT}"
    node.run(f"nft 'flush chain ip service prerouting; add rule ip service prerouting {rule}'")


def listening(netns: ScratchNetns) -> socket.socket:
    with netns.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", PORT))
    made.settimeout(5.0)
    return made


@pytest.mark.parametrize("flushes", [True, False], ids=["flushed", "the counter-proof"])
async def test_no_packet_of_an_old_connection_reaches_the_addresss_next_pod(flushes):
    """bug class 5, bug class 39: each round leaves a peer behind that goes on sending"""
    with nodes() as found, found["node"].entered():
        sockets = {name: listening(found[name]) for name in PODS}
        peers: list[socket.socket] = []
        try:
            async with open_kernel() as kernel:
                conntrack = KernelConntrack(kernel) if flushes else _Forgetful()
                strays = await _recycle(found, sockets, peers, conntrack)
        finally:
            for one in (*sockets.values(), *peers):
                one.close()

    assert (strays == 0) is flushes


class _Forgetful:
    """A kernel that says that it forgot, and did not."""

    async def delete_entries(self, addresses: Collection[IPAddress]) -> None:
        return None


async def _recycle(found, sockets, peers, conntrack) -> int:
    """Give the node's only address to pod after pod; return how many packets went astray."""
    strays = 0
    async with pool_of_one(conntrack) as pool:
        for number in range(ROUNDS):
            name = PODS[number % 2]
            made = await pool.acquire(owner(number), network="n", netns="/n", pod=None)
            address = made.lease.addresses.v4
            assert address is not None
            move_in(found, name, address)
            await asyncio.to_thread(_talk, found, sockets[name], peers, number)
            strays += await asyncio.to_thread(_stray, found, sockets[name], peers[:-1], address)
            # The service has lost its backend; its peers go on sending.
            lead_to(found["node"], NOBODY)
            await pool.release(owner(number))
    return strays


def _talk(found, receiver, peers, number) -> None:
    """A new peer opens a connection to the service: it reaches the pod of the moment."""
    with found["client"].entered():
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.connect((VIP, PORT))
    peers.append(peer)
    peer.send(f"new {number}".encode())
    assert receiver.recv(100) == f"new {number}".encode()


def _stray(found, receiver, peers, address) -> int:
    """Let peers of earlier pods send again, with no service there; count what arrives."""
    lead_to(found["node"], NOBODY)
    for peer in peers[-8:]:
        _send(peer, b"old")
    lead_to(found["node"], str(address))
    with found["client"].entered():
        marker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with marker:
        marker.connect((VIP, PORT))
        marker.send(b"end")
        arrived = 0
        while receiver.recv(100) == b"old":
            arrived += 1
    return arrived


def _send(peer: socket.socket, payload: bytes) -> None:
    try:
        peer.send(payload)
    except OSError:  # the answer to the last one: nobody is there
        peer.send(payload)


@asynccontextmanager
async def pool_of_one(conntrack: ConntrackPort) -> AsyncIterator[PoolService]:
    """Run a pool with a single address, which each pod waits for."""
    cloud = ModelCloud(eni_slots=1, per_eni=1)
    ports = Ports(
        cloud=AsyncCloud(cloud),  # type: ignore[arg-type]  # made of __getattr__
        store=MemoryStore(Disk()),
        links=ReadyLinks(),
        conntrack=conntrack,
    )
    pool = PoolService(pool_config(cloud, families=(Family.V4,)), ports)
    await pool.restore()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pool.run())
        yield pool
        running.cancel()
