"""Priorities of pods whose packets go past the node's stack: the ENI's queues see them, too.

guaranteed ─ cali… ─ from_pod ─┐
                               ├─► redirect to the neighbour ─► eth1: class ─► queues ─► gateway
best effort ─ cali… ─ from_pod ┘
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from terway.datapath.facts import ENILink
from terway.datapath.host import desired_eni
from terway.datapath.node import desired_node
from terway.datapath.plan import plan_attach, plan_node
from terway.datapath.veth import desired_attachment
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel
from terway.model.address import IPAddress, IPPair
from terway.model.attachment import Attachment
from terway.model.interface import NetworkPriority
from terway.model.network import Sysctl
from tests.contract.linux.test_priorities import SO_SNDBUFFORCE
from tests.support.attachments import NODE_FACTS, attachment, dual_stack
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

FACTS = replace(NODE_FACTS, has_datapath=True, has_priorities=True)
GATEWAYS = IPPair(v4=dual_stack(0x1FFD).v4, v6=dual_stack(0xFFFD).v6)
GUARANTEED, BEST_EFFORT = NetworkPriority.GUARANTEED, NetworkPriority.BEST_EFFORT
_SMALL = {"flows": 1024, "choices": 1024}
_TIME_OF = "sed -n 's/.*time=\\([0-9.]*\\) .*/\\1/p'"


@pytest.fixture
def spaces() -> Iterator[tuple[ScratchNetns, ScratchNetns]]:
    with ExitStack() as stack:
        first, last = (stack.enter_context(scratch_netns("pod")) for _ in range(2))
        yield first, last


def prioritised(number: int, space: ScratchNetns, priority: NetworkPriority) -> Attachment:
    made = attachment(number, netns=space.path)
    return replace(made, spec=replace(made.spec, priority=priority))


@pytest.fixture
async def pods(
    kernel: Kernel,
    spaces: tuple[ScratchNetns, ScratchNetns],
    tmp_path: Path,
) -> AsyncIterator[tuple[ScratchNetns, ScratchNetns]]:
    """Bring up the data path for a guaranteed pod and one of best effort."""
    path = await kernel.open_datapath(Pins(Path("/sys/fs/bpf") / tmp_path.name), _SMALL)
    eth1 = next(one for one in await kernel.links() if one.name == "eth1")
    assert eth1.mac is not None
    eni = ENILink(name="eth1", ifindex=eth1.ifindex, mac=eth1.mac, gateways=GATEWAYS)
    host = (*desired_node(FACTS), *desired_eni(eni, FACTS))
    actual = await kernel.read_node(one for one in host if isinstance(one, Sysctl))
    await kernel.apply(plan_node(host, (), actual))
    path.know_node([*FACTS.addresses])
    for number, priority in ((1, GUARANTEED), (2, BEST_EFFORT)):
        made = prioritised(number, spaces[number - 1], priority)
        desired = desired_attachment(made, eni=eni, node=FACTS)
        await kernel.apply(plan_attach(desired, await kernel.read_attachment(desired)))
    yield spaces
    path.object.close()


def flood(space: ScratchNetns, far: IPAddress) -> None:
    """Send 240 kB at once, with room for all of it in the socket."""
    with space.entered():
        family = socket.AF_INET6 if far.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        for _ in range(200):
            sock.sendto(bytes(1200), (str(far), 9))


def ping_ms(space: ScratchNetns, far: IPAddress) -> float:
    return float(space.run(f"ping -nc1 -W5 {far} | {_TIME_OF}"))


@pytest.mark.parametrize("family", ["v4", "v6"])
async def test_who_is_guaranteed_passes_those_who_wait(world, pods, family):
    far = getattr(GATEWAYS, family)
    guaranteed, best_effort = pods
    for space in pods:
        ping_ms(space, far)  # neighbours are known from here on: the programs redirect
    world.node.run(
        "tc qdisc replace dev eth1 root handle 1: tbf rate 1mbit burst 3000 limit 10000000;"
        "tc qdisc replace dev eth1 parent 1:1 handle 10: prio"
        " || tc qdisc replace dev eth1 parent 1:1 handle 10: pfifo_fast"
    )

    # when best effort has a second's worth of packets waiting
    flood(best_effort, far)
    first, last = ping_ms(guaranteed, far), ping_ms(best_effort, far)

    # then a packet of the guaranteed pod does not wait behind them, and one of their kind does
    assert 2 * first < last
    assert last > 100
