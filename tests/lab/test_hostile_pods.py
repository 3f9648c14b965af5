"""Pods that write their own frames, and may speak to nobody: what arrives all the same?"""

from __future__ import annotations

import errno
import json
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from terway.kube.resource import NETWORK_POLICIES
from terway.lab.policy.inforce import SOCKET, wait_in_force
from terway.lab.world.lab import Lab, open_lab
from terway.lab.world.plan import EXCLUSIVE_LABELS, NodePool
from terway.lab.world.pods import PodHandle
from terway.linux.netns import entered, open_netns
from terway.model.address import Family
from tests.support.wires import FENCE, End, Wires, heard, ip_head, udp_datagram

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

CLOSED = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "default"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "spy"}},
        "policyTypes": ["Egress"],
        "egress": [{"ports": [{"protocol": "UDP", "port": FENCE}]}],
    },
}
SPIES = {"inside": "eni-1", "beside": "node-1"}
PORT = 7777
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20  # linux/if_packet.h
IPV4, ARP, ALL = 0x0800, 0x0806, 0x0003


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        name=f"t{uuid.uuid4().hex[:8]}",
        nodes=1,
        pools=(NodePool(name="eni", nodes=1, labels=EXCLUSIVE_LABELS),),
        cni={"eniip_virtual_type": "datapathv2"},
    ) as lab:
        await lab.kube.create(NETWORK_POLICIES, CLOSED)
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pods(lab: Lab) -> dict[str, PodHandle]:
    made = {
        name: await lab.pod(name, node=node, labels={"app": "spy"}) for name, node in SPIES.items()
    }
    made["listener"] = await lab.pod("listener", node="node-1", labels={"app": "listener"})
    sockets = {name: node.inside(SOCKET) for name, node in lab.nodes.items()}
    assert await wait_in_force(lab.kube, sockets) == ()
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """A pod's way to write frames: to whom its kernel sends them, from its own address."""

    source: End
    target: End
    head: bytes

    def datagram(self, text: bytes) -> bytes:
        payload = udp_datagram(self.source, self.target, (5555, PORT), text)
        return self.head + ip_head(self.source, self.target, 17, len(payload)) + payload

    def send(self, frame: bytes, protocol: int, *, past_queues: bool = False) -> None:
        """Have the kernel believe that a frame is of `protocol`."""
        with open_netns(self.source.netns_path) as opened, entered(opened.fd):
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with made:
            if past_queues:
                made.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
            try:
                made.sendto(frame, ("eth0", protocol))
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # a program that drops looks like a full queue
                    raise


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as found:
        yield found


def end(pod: PodHandle) -> End:
    return End(netns_path=pod.netns_path, address=pod.address(Family.V4))


async def frames_of(pod: PodHandle, target: PodHandle, wires: Wires) -> Frames:
    await wires.fence(end(pod), end(target))
    link = json.loads(await pod.exec("ip", "-j", "link", "show", "dev", "eth0"))[0]["address"]
    hops = json.loads(await pod.exec("ip", "-j", "-4", "neigh", "show", "dev", "eth0"))
    to = next(one["lladdr"] for one in hops if "lladdr" in one)
    head = bytes.fromhex((to + link).replace(":", "")) + b"\x08\x00"
    return Frames(source=end(pod), target=end(target), head=head)


@pytest.mark.parametrize("protocol", [IPV4, ARP, ALL])
@pytest.mark.parametrize(
    ("spy", "past_queues"), [("inside", False), ("beside", False), ("beside", True)]
)
async def test_no_frame_of_a_closed_pod_arrives_whatever_its_writer_calls_it(
    pods, wires, spy, protocol, past_queues
):
    """Past the queues of its own device there is no program: docs/design/exclusive.md."""
    frames = await frames_of(pods[spy], pods["listener"], wires)
    receiver = await wires.udp(end(pods["listener"]), PORT)

    with wires.borrowed(receiver):
        frames.send(frames.datagram(b"secret"), protocol, past_queues=past_queues)
        await wires.fence(end(pods[spy]), end(pods["listener"]))

        assert heard(receiver) == []
