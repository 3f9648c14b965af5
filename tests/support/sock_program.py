"""The programs for sockets with a node to themselves: a namespace, a cgroup, maps to fill.

The test process is in the cgroup for as long as the bench is open; its sockets are the node's when
it is inside `node`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from terway.linux import bpf
from terway.linux.ebpf import cgroup, contract
from terway.linux.ebpf.sockets import SocketPrograms, open_sockets
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.service_tables import ServiceTables

SIZES = {"flows": 1, "pieces": 1, "sockets": 1024, "frontends": 64, "backends": 64, "sets": 64}
BPFFS = Path("/sys/fs/bpf")

_numbers = itertools.count()


class SocketBench(ServiceTables):
    """Loaded programs, and what a test says there is."""

    def __init__(self, programs: SocketPrograms, node: ScratchNetns, place: Path) -> None:
        self.programs = programs
        self.node = node
        self.cgroup = place
        self.pins = BPFFS / place.name
        self.maps = {name: bpf.map_of(fd) for name, fd in programs.loaded.maps.items()}
        super().__init__(self.maps)
        self.settle()

    def settle(
        self, flags: int = contract.SETTING_SERVICES | contract.SETTING_NODE_IN, node4: str = ""
    ) -> None:
        """Say what is ours, and the node's address."""
        packed = ip_address(node4).packed if node4 else b""
        self.maps["settings"].update(bytes(4), contract.SETTINGS.pack(flags=flags, node4=packed))

    def own(self, host: str) -> None:
        """Say that an address is the node's."""
        family = ip_address(host).version
        key = contract.ADDRESS_OF.pack(address=ip_address(host).packed, family=family)
        self.maps["locals"].update(key, contract.LOCAL_NODE.to_bytes(4, "little"))

    def attach(self) -> None:
        self.programs.attach(self.cgroup, self.pins)


@contextmanager
def scratch_cgroup() -> Iterator[Path]:
    """Make a cgroup for the block and be in it."""
    root = cgroup.find_cgroup()
    place = root / f"terway-test-{os.getpid()}-{next(_numbers)}"
    place.mkdir()
    here = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].splitlines()[0]
    (place / "cgroup.procs").write_text("0")
    try:
        yield place
    finally:
        (root / here.lstrip("/") / "cgroup.procs").write_text("0")
        with suppress(FileNotFoundError):
            place.rmdir()


@contextmanager
def open_socket_bench() -> Iterator[SocketBench]:
    """Make namespace and cgroup, load and attach the programs for the block."""
    with (
        scratch_netns("node") as node,
        scratch_cgroup() as place,
        node.entered(),
        open_sockets({}, max_entries=SIZES) as programs,
    ):
        bench = SocketBench(programs, node, place)
        bench.attach()
        try:
            yield bench
        finally:
            cgroup.detach(bench.pins)
