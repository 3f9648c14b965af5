"""What does the flow log cost a new connection: off, sampled, and of all?

    client ─veth─ node ─veth─ pod "server"            a trio of namespaces for each side
                   └─ rules that log ──► the flow log as terwayd has it, in this process

1,000 policies select the server on each side. The sides that log have their rules told and their
packets read, named and judged by a flow log of their own, as while somebody follows; the kernel
tells of 1,000 connections a second at most. Client and server are pinned to one core.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.netns import ScratchNetns

from bench.alternate import alternate
from bench.group import Group, Order, say
from bench.policy_filters import TABLE, compiled_of, links_of
from bench.policy_net import Trio, connections_per_s, trio
from bench.policy_world import NODE, SERVER, Shape, World, world_of
from bench.record import Record
from bench.stats import median
from terway.agent.flows.flood import RATE_PER_S
from terway.agent.flows.followers import Follower, Wish
from terway.agent.flows.keep import KeptFlows
from terway.agent.flows.knowledge import ClusterKnowledge
from terway.agent.flows.service import FlowLog, Outside
from terway.agent.flows.taps import GROUP as LOG_GROUP
from terway.linux.netns import open_netns
from terway.linux.nflog import PacketLog, bind_packet_log
from terway.linux.nfnetlink.tables import open_nft_socket
from terway.model.address import IPPair
from terway.model.nft import Transactions
from terway.policy.cluster import Cluster, PodKey
from terway.policy.nft import skeleton
from terway.policy.nft.printer import Printer
from terway.policy.policies import Policy
from terway.policy.records.flow_filter import FlowFilter
from terway.policy.records.recorded import RecordedFlow

POLICIES = 1_000
ROUNDS = 11
OFF = "off"
SIDES: Mapping[str, Wish | None] = {
    OFF: None,
    "denied": Wish(),
    "sampled": Wish(sample=100),
    "all": Wish(sample=1),
}
FIGURE = "policy.flowlog_cost"
FIGURES = tuple(f"{FIGURE}.{name}" for name in SIDES if name != OFF)


@dataclass
class Node:
    """The node of a trio: its table, and what a terwayd would have heard."""

    netns: ScratchNetns
    world: World
    printer: Printer = field(default_factory=lambda: Printer(skeleton.Place.NODE))
    attached: Mapping[PodKey, IPPair] = field(default_factory=dict)

    async def enforce(self) -> None:
        """Have the world's policies in force."""
        compiled = await asyncio.to_thread(compiled_of, self.world)
        self._change(self.printer.adopt(compiled, links_of(), None))

    async def set_logging(self, wish: Wish | None) -> None:
        """Have the rules log as terwayd has them."""
        if wish is None:
            self._change(self.printer.log(None))
            return
        log = skeleton.FlowLog(group=LOG_GROUP, rate_per_s=RATE_PER_S, one_in=wish.sample)
        self._change(self.printer.log(log))

    async def open_tap(self, _netns: str) -> PacketLog:
        return await asyncio.to_thread(bind_packet_log, LOG_GROUP, self.netns.path)

    def cluster(self) -> Cluster:
        return self.world.cluster

    def selecting(self, key: PodKey) -> tuple[Policy, ...]:
        return self.world.policies if key == SERVER else ()

    def _change(self, transactions: Transactions) -> None:
        with open_netns(self.netns.path) as opened, open_nft_socket(opened.fd) as nft:
            nft.change(TABLE, transactions)


async def measure(order: Order) -> list[Record]:
    """Measure new connections on all sides, in turn."""
    rounds = order.rounds(ROUNDS)
    async with _sides() as sides:
        measured = await alternate(
            rounds,
            {name: partial(connections_per_s, side) for name, side in sides.items()},
            show=lambda turn: say(f"  flow log: {turn}"),
        )
    rates = {name: median(found) for name, found in measured.items()}
    return [
        Record(
            figure=f"{FIGURE}.{name}",
            subject=f"new connections, {POLICIES} policies, flow log: {name}",
            value=rates[name],
            reference="the same with the flow log off",
            reference_value=rates[OFF],
            unit="conn/s",
            runs=rounds,
        )
        for name in rates
        if name != OFF
    ]


@asynccontextmanager
async def _sides() -> AsyncIterator[dict[str, Trio]]:
    world = await asyncio.to_thread(world_of, POLICIES, Shape.WORST)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        sides = {}
        for name, wish in SIDES.items():
            sides[name], netns = stack.enter_context(trio())
            node = Node(netns=netns, world=world)
            await node.enforce()
            if wish is not None:
                await stack.enter_async_context(_followed(node, wish, folder))
        yield sides


@asynccontextmanager
async def _followed(node: Node, wish: Wish, folder: Path) -> AsyncIterator[None]:
    """Run the node's flow log with a follower for the block; enter when its rules log."""
    loop_time = asyncio.get_running_loop().time
    outside = Outside(
        knowledge=ClusterKnowledge(node, now=loop_time),
        rules=node,
        open_tap=node.open_tap,
        places=lambda: ("",),
        kept=KeptFlows(folder / "flows.jsonl"),
        now=loop_time,
    )
    log = FlowLog(NODE, outside)
    with log.follow(FlowFilter(), wish) as follower:
        begun = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(log.run())
            reading = tasks.create_task(_read(follower, begun))
            await begun.wait()
            yield
            running.cancel()
            reading.cancel()


async def _read(follower: Follower, begun: asyncio.Event) -> None:
    async for line in follower.lines():
        begun.set()
        assert not isinstance(line, RecordedFlow) or line.node == NODE


GROUP = Group(figures=FIGURES, title="what the flow log costs a connection", measure=measure)
