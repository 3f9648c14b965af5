"""A flow log without a kernel: packets are pushed by hand, rules and names are what a test says."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from terway.agent.flows.followers import Wish
from terway.agent.flows.keep import KeptFlows
from terway.agent.flows.ring import Programs
from terway.agent.flows.service import FlowLog, Outside
from terway.lab.world.waiting import PATIENCE_S
from terway.linux.nflog import LoggedPacket, Taken
from terway.model.address import IPAddress
from terway.model.errors import ConflictError, TransientError
from terway.model.ids import NodeName
from terway.policy.cluster import PodKey
from terway.policy.flow import Because, Judgement, Verdict
from terway.policy.policies import Direction, Kind, PolicyKey
from terway.policy.records.recorded import RecordedEnd, RecordedFlow

NODE = NodeName("node-1")
CLIENT, SERVER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
POLICY = PolicyKey(kind=Kind.NETWORK, namespace="shop", name="db-from-web")
PODS = {
    CLIENT: PodKey(namespace="web", name="client"),
    SERVER: PodKey(namespace="shop", name="db-0"),
}


def tcp(
    source: IPAddress = CLIENT,
    destination: IPAddress = SERVER,
    *,
    port: int = 3306,
    source_port: int = 40000,
    flags: int = 0x02,
) -> bytes:
    """Return the head of a TCP packet over IPv4."""
    assert isinstance(source, IPv4Address)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0)
    transport = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 0x50, flags, 100, 0, 0)
    return ip + source.packed + destination.packed + transport


class FakeTap:
    """A log that a test pushes packets into."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._waiting: list[Taken] = []
        self._emptied = asyncio.Event()

    def push(self, *packets: bytes, prefix: str = "denied", lost: int = 0) -> None:
        logged = tuple(LoggedPacket(at_ns=0, prefix=prefix, in_index=7, packet=p) for p in packets)
        self._waiting.append(Taken(packets=logged, lost=lost))
        self._emptied.clear()
        self._there.send(b"!")

    def fileno(self) -> int:
        return self._here.fileno()

    def take(self) -> Taken:
        self._here.recv(1)
        taken = self._waiting.pop(0)
        if not self._waiting:
            self._emptied.set()
        return taken

    async def emptied(self) -> None:
        """Wait until all that was pushed has been taken."""
        async with asyncio.timeout(PATIENCE_S):
            await self._emptied.wait()

    def link_name(self, index: int) -> str:
        return f"cali{index}" if index else ""

    def close(self) -> None:
        self._here.close()
        self._there.close()


class FakeKnowledge:
    """Two pods of this node, and one policy that says what a test sets."""

    def __init__(self) -> None:
        self.allows = False
        self.asked = 0
        self.is_lost = False
        self.takes_s = 0.0
        self.slows: FakeNode | None = None  # whose clock goes on while it thinks

    def end_of(self, address: IPAddress) -> RecordedEnd:
        pod = PODS.get(address)
        node = NODE if pod else None
        return RecordedEnd(address=address, pod=pod, node=node)

    def judge(self, flow: RecordedFlow) -> Verdict:
        self.asked += 1
        if self.slows is not None:
            self.slows.clock += self.takes_s
        if self.is_lost:
            raise ConflictError("the pod is gone")
        if flow.destination.pod != PODS[SERVER]:
            return Verdict()
        side = Judgement(
            direction=Direction.INGRESS,
            pod=PODS[SERVER],
            is_allowed=self.allows,
            because=Because.RULE if self.allows else Because.ISOLATED,
            policy=POLICY,
            rule=0 if self.allows else None,
        )
        return Verdict(ingress=side)


@dataclass
class FakeNode:
    """All that a flow log stands on. `told` are the wishes that the rules were given."""

    folder: Path
    knowledge: FakeKnowledge = field(default_factory=FakeKnowledge)
    taps: dict[str, FakeTap] = field(default_factory=dict)
    pods_with_tables: list[str] = field(default_factory=list)
    has_tables: bool = True
    programs: Programs | None = None
    told: list[Wish | None] = field(default_factory=list)
    refusals: int = 0
    clock: float = 0.0
    _heard: asyncio.Queue[Wish | None] = field(default_factory=asyncio.Queue)

    async def set_logging(self, wish: Wish | None) -> None:
        if self.refusals:
            self.refusals -= 1
            raise TransientError("nft: busy")
        if not self.told or self.told[-1] != wish:
            self.told.append(wish)
            self._heard.put_nowait(wish)

    async def is_told(self, wish: Wish | None) -> None:
        """Wait until the rules are told this."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._heard.get() != wish:
                pass

    async def open_tap(self, netns: str) -> FakeTap:
        if netns == "/run/netns/taken":
            raise ConflictError("bind log group: another program has it")
        self.taps[netns] = FakeTap()
        return self.taps[netns]

    def places(self) -> Iterable[str]:
        return ("", *self.pods_with_tables) if self.has_tables else ()

    def flow_log(self, *, most_bytes: int = 100_000) -> FlowLog:
        outside = Outside(
            knowledge=self.knowledge,
            rules=self,
            open_tap=self.open_tap,
            places=self.places,
            kept=KeptFlows(self.folder / "flows" / "flows.jsonl", most_bytes=most_bytes),
            programs=self.programs,
            now=lambda: self.clock,
            wall_ns=lambda: 0,
        )
        return FlowLog(NODE, outside)
