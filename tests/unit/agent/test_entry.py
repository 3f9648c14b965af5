"""The node's own processes reach services at their sockets, or by the uplink, and know which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from terway.agent.ebpf.entry import NodeEntry
from terway.datapath.relay_ports import RANGE, RESERVED
from terway.linux.ebpf.contract import SETTING_NODE_OUT
from terway.linux.ebpf.pins import Pins
from terway.model.errors import TransientError, UsageError, VpcError
from terway.model.network import NODE, Operation, Put, Sysctl


class PaperKnowledge:
    def __init__(self) -> None:
        self.flags = 0

    def switch(self, flag: int, *, is_on: bool) -> None:
        self.flags = self.flags | flag if is_on else self.flags & ~flag


class PaperDataPath:
    def __init__(self) -> None:
        self.knowledge = PaperKnowledge()


class PaperKernel:
    """A kernel that serves sockets, or refuses; and remembers what it was told."""

    def __init__(self, *, local_range: str = "32768\t60999") -> None:
        self.refusal: VpcError | None = None
        self.settings = {RANGE: local_range, RESERVED: ""}
        self.applied: list[Operation] = []
        self.told: list[set[int]] = []
        self.lost: VpcError | None = None

    async def serve_sockets(self, datapath: object, pins: Pins, cgroup: Path | None) -> object:
        assert isinstance(datapath, PaperDataPath)
        if self.refusal is not None:
            raise self.refusal
        return (pins, cgroup)

    async def end_sockets(self, served: object, gone: Collection[int]) -> int:
        assert served is not None
        if self.lost is not None:
            raise self.lost
        self.told.append(set(gone))
        return len(gone)

    async def read_settings(self, paths: Collection[str]) -> dict[str, str]:
        return {path: self.settings[path] for path in paths if path in self.settings}

    async def apply(self, operations: Sequence[Operation]) -> None:
        self.applied += operations


@pytest.fixture
def kernel() -> PaperKernel:
    return PaperKernel()


@pytest.fixture
def datapath() -> PaperDataPath:
    return PaperDataPath()


@pytest.fixture
def entry(kernel, datapath) -> NodeEntry:
    return NodeEntry(kernel, datapath, Pins(), cgroup=None)


async def test_sockets_are_served_where_the_kernel_can(entry, datapath):
    await entry.begin()

    assert entry.lacks == ""
    assert not datapath.knowledge.flags & SETTING_NODE_OUT


async def test_where_it_cannot_the_uplink_does_it_and_why_is_known(entry, kernel, datapath):
    kernel.refusal = UsageError("no cgroup2 here", field="--cgroup")

    await entry.begin()

    assert entry.lacks == "no cgroup2 here"
    assert datapath.knowledge.flags & SETTING_NODE_OUT


async def test_when_it_can_again_the_uplink_stops(entry, kernel, datapath):
    kernel.refusal = UsageError("no cgroup2 here")
    await entry.begin()
    kernel.refusal = None

    await entry.begin()

    assert entry.lacks == ""
    assert not datapath.knowledge.flags & SETTING_NODE_OUT


async def test_sockets_are_told_of_backends_that_are_gone_once(entry, kernel):
    await entry.begin()
    entry.lost((1, 2))
    entry.lost((2, 3))

    await entry.tell()
    await entry.tell()

    assert kernel.told == [{1, 2, 3}]


async def test_a_kernel_that_cannot_tell_stops_nothing(entry, kernel):
    await entry.begin()
    kernel.lost = TransientError("no memory")
    entry.lost((1,))

    await entry.tell()

    kernel.lost = None
    entry.lost((2,))
    await entry.tell()
    assert kernel.told == [{2}]


async def test_ports_of_relayed_connections_are_reserved_where_sockets_could_have_them(datapath):
    kernel = PaperKernel(local_range="1024\t65535")

    await NodeEntry(kernel, datapath, Pins(), cgroup=None).begin()  # type: ignore[arg-type]

    assert kernel.applied == [
        Put(netns=NODE, object=Sysctl(path=RESERVED, value="13616-29999")),
    ]


async def test_nothing_is_reserved_without_need(entry, kernel):
    await entry.begin()

    assert kernel.applied == []
