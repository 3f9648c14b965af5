"""What goes by a service is large, cut, joined, or too large: it arrives whole, or it is told."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest
import pytest_asyncio

from terway.lab import toolbox
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import NodePool
from terway.lab.world.pods import PodHandle
from terway.lab.world.service_objects import SERVICES, wait_endpoints
from terway.lab.world.waiting import PATIENCE_S
from terway.model.address import Family, IPAddress
from tests.support.wires import End, Wires

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("family", list(Family), ids=["ipv4", "ipv6"])
everywhere = pytest.mark.parametrize("name", ["near", "far"])
JUMBO = NodePool(name="jumbo", nodes=1, instance_type="ecs.g7.2xlarge", jumbo_frames=True)
UDP_PORT, TARGET_PORT = 53, 7053
UDP_SEGMENT = 103  # linux/udp.h
SO_NO_CHECK = 11  # asm-generic/socket.h
DISCOVER = {  # level, option, IP_PMTUDISC_DO
    Family.V4: (socket.IPPROTO_IP, 10, 2),
    Family.V6: (socket.IPPROTO_IPV6, 23, 2),
}
MEGABYTE = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"u{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(JUMBO,),
        cni={"eniip_virtual_type": "datapathv2"},
    ) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    places = {"client": "jumbo-1", "near": "jumbo-1", "far": "node-1"}
    return {name: await lab.pod(name, node=at, labels={"app": name}) for name, at in places.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def offered(lab: Lab, pods: dict[str, PodHandle]) -> dict[str, dict[Family, IPAddress]]:
    """Return the addresses of one service for each pod that serves."""
    found = {}
    for name in ("near", "far"):
        ports = [
            {"name": "tcp", "port": 80, "targetPort": toolbox.ECHO_PORT},
            {"name": "udp", "port": UDP_PORT, "targetPort": TARGET_PORT, "protocol": "UDP"},
        ]
        spec = {"selector": {"app": name}, "ports": ports, "ipFamilyPolicy": "RequireDualStack"}
        manifest = {"metadata": {"name": name}, "spec": spec}
        made = await lab.kube.create(SERVICES, manifest, namespace="default")
        await wait_endpoints(lab.kube, name, lambda held: len(held) == 2)
        addresses = [ip_address(one) for one in made["spec"]["clusterIPs"]]
        found[name] = {Family(one.version): one for one in addresses}
        for address in addresses:
            await reached(pods["client"], address)
    return found


async def reached(pod: PodHandle, address: IPAddress) -> None:
    """Return once the node has heard of a service."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with await pod.connect(address, port=80, timeout_s=1.0):
                    return
            except (OSError, TimeoutError):
                continue


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as found:
        yield found


def end(pod: PodHandle, family: Family) -> End:
    return End(netns_path=pod.netns_path, address=pod.address(family))


class Pair:
    """A client's socket, connected to a service, and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def take(self) -> tuple[bytes, tuple[str, int]]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().sock_recvfrom(self.server, 65535)

    async def answered(self, data: bytes) -> bytes:
        """Send, have the server send back what it got, and return what comes."""
        await self.send(data)
        got, peer = await self.take()
        await asyncio.get_running_loop().sock_sendto(self.server, got, peer)
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().sock_recv(self.client, 65535)


async def pair_of(
    wires: Wires, pods: dict[str, PodHandle], name: str, address: IPAddress, family: Family
) -> Pair:
    server = await wires.udp(end(pods[name], family), TARGET_PORT)
    client = await wires.udp(end(pods["client"], family))
    client.connect((str(address), UDP_PORT))
    return Pair(client, server)


async def learn_size(wires: Wires, client: PodHandle, address: IPAddress, family: Family) -> None:
    """Send what fits the client's link, and not the server's, until the client is told."""
    with wires.borrowed(await wires.udp(end(client, family))) as sender:
        sender.connect((str(address), UDP_PORT))
        sender.setsockopt(*DISCOVER[family])
        async with asyncio.timeout(PATIENCE_S):
            with suppress(OSError):
                while True:
                    sender.send(bytes(4000))
                    await asyncio.sleep(0)


@everywhere
@both
async def test_much_arrives_whole_both_ways(pods, offered, name, family):
    """Packets that the kernel has joined, and whose sums are left to the device."""
    data = bytes(range(256)) * (MEGABYTE // 256)
    async with await pods["client"].connect(offered[name][family], port=80) as flow:
        for _ in range(4):
            assert await flow.echo(data, timeout_s=20) == data


@everywhere
@both
async def test_a_datagram_in_pieces_arrives_whole_both_ways(pods, offered, wires, name, family):
    """The first one to another node is lost, and tells how large pieces may be."""
    if name == "far":
        await learn_size(wires, pods["client"], offered["far"][family], family)
    pair = await pair_of(wires, pods, name, offered[name][family], family)
    data = bytes(range(250)) * 80

    assert await pair.answered(data) == data


@everywhere
@both
async def test_datagrams_that_are_sent_as_one_arrive_each(pods, offered, wires, name, family):
    pair = await pair_of(wires, pods, name, offered[name][family], family)
    pair.client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
    parts = [bytes([number]) * 1200 for number in range(10)]

    await pair.send(b"".join(parts))

    assert [(await pair.take())[0] for _ in parts] == parts


@everywhere
async def test_a_datagram_without_a_sum_arrives(pods, offered, wires, name):
    pair = await pair_of(wires, pods, name, offered[name][Family.V4], Family.V4)
    for one in (pair.client, pair.server):
        one.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)

    assert await pair.answered(b"without") == b"without"


@both
async def test_what_is_too_large_for_the_endpoints_node_is_told(pods, offered, wires, family):
    """Bug class 32: the error is about a packet that the client has never sent."""
    await learn_size(wires, pods["client"], offered["far"][family], family)

    seen = await pods["client"].exec("ip", "route", "get", str(offered["far"][family]))
    assert "mtu 1500" in seen
