"""The programs for sockets with a node to themselves: a namespace, a cgroup, maps to fill.

The test process is in the cgroup for as long as the bench is open; its sockets are the node's when
it is inside `node`.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from terway.linux import bpf
from terway.linux.ebpf import cgroup, contract
from terway.linux.ebpf.sockets import SocketPrograms, open_sockets
from tests.support.netns import ScratchNetns, scratch_netns

SIZES = {"flows": 1, "pieces": 1, "sockets": 1024, "frontends": 64, "backends": 64, "sets": 64}
BPFFS = Path("/sys/fs/bpf")
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class End:
    """An address and a port, as a test writes them: "10.96.0.1", 80."""

    host: str
    port: int

    @property
    def family(self) -> int:
        return ip_address(self.host).version

    def key(self, protocol: str) -> bytes:
        """Return it as the maps' key; the unspecified address is any of the node."""
        return contract.FRONTEND_KEY.pack(
            address=ip_address(self.host).packed,
            port=self.port.to_bytes(2, "big"),
            protocol=PROTOCOLS[protocol],
            family=4 if self.family == 4 else 6,
        )


class SocketBench:
    """Loaded programs, and what a test says there is."""

    def __init__(self, programs: SocketPrograms, node: ScratchNetns, place: Path) -> None:
        self.programs = programs
        self.node = node
        self.cgroup = place
        self.pins = BPFFS / place.name
        self.maps = {name: bpf.map_of(fd) for name, fd in programs.loaded.maps.items()}
        self._sets = itertools.count(1)
        self._backends = itertools.count(1)
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

    def add_backend(self, end: End, protocol: str, *, flags: int = 0) -> int:
        """Add a backend and return its number."""
        number = next(self._backends)
        self.maps["backends"].update(_number(number), _backend(end, protocol, flags))
        return number

    def remove_backend(self, number: int) -> None:
        self.maps["backends"].delete(_number(number))

    def serve(
        self,
        frontend: End,
        protocol: str,
        backends: tuple[int, ...],
        *,
        flags: int = 0,
        affinity_s: int = 0,
        service: int = 1,
    ) -> int:
        """Lead a frontend to backends, by number; return the number of their set."""
        number = next(self._sets)
        self.change_set(number, backends)
        value = contract.FRONTEND.pack(
            service=service, inside=number, outside=0, affinity_s=affinity_s, flags=flags
        )
        self.maps["frontends"].update(frontend.key(protocol), value)
        return number

    def change_set(self, number: int, backends: tuple[int, ...]) -> None:
        value = contract.BACKEND_SET.pack(
            count=len(backends), backend=b"".join(map(_number, backends))
        )
        self.maps["sets"].update(_number(number), value)

    def allow(self, network: str, *, service: int = 1) -> None:
        """Let clients of a network use a service with source ranges."""
        host, _, prefix = network.partition("/")
        key = contract.SOURCE_RANGE.pack(
            prefixlen=contract.SOURCE_RANGE_BEFORE + int(prefix),
            service=service,
            family=ip_address(host).version,
            address=ip_address(host).packed,
        )
        self.maps["source_ranges"].update(key, _number(1))

    def attach(self) -> None:
        self.programs.attach(self.cgroup, self.pins)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _backend(end: End, protocol: str, flags: int) -> bytes:
    return contract.BACKEND.pack(
        address=ip_address(end.host).packed,
        port=end.port.to_bytes(2, "big"),
        protocol=PROTOCOLS[protocol],
        family=ip_address(end.host).version,
        flags=flags,
    )


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
