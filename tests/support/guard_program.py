"""The guard's program without a network: an owner in its map, frames by BPF_PROG_TEST_RUN."""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from terway.datapath.guard import guard_of
from terway.linux import bpf
from terway.linux.bpf_program import run_program
from terway.linux.guard import OBJECT, PROGRAM
from terway.linux.guard_contract import DROPS_KEY, DROPS_VALUE, GuardReason, pack_owner
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.address import IPPair
from terway.model.ids import MacAddress
from terway.model.traffic import Guard

PASS_ON, DROP = 0xFFFFFFFF, 2
V4, V6 = IPv4Address("192.168.32.1"), IPv6Address("2408:4005::1")
MAC = MacAddress("02:00:00:00:00:01")
GUARD = guard_of("cali1", mac=MAC, addresses=IPPair(v4=V4, v6=V6))

_numbers = itertools.count()
_IFINDEX = struct.Struct("=I")
_SK_BUFF_BYTES = 192
_IFINDEX_AT = 40


class GuardProgramBench:
    """A loaded guard, and a link that leads nowhere (TEST_RUN wants a real one)."""

    def __init__(self, loaded: LoadedObject, ifindex: int) -> None:
        self._program = loaded.programs[PROGRAM]
        self._maps = {name: bpf.map_of(fd) for name, fd in loaded.maps.items()}
        self._ifindex = ifindex

    def own(self, guard: Guard | None) -> None:
        """Say whom the link belongs to; None: nobody says."""
        key = _IFINDEX.pack(self._ifindex)
        if guard is None:
            self._maps["owners"].delete(key)
        else:
            self._maps["owners"].update(key, pack_owner(guard))

    def judge(self, frame: bytes) -> GuardReason:
        """Return why the program dropped the frame, or NONE when it passed it on unchanged."""
        for key in list(self._maps["drops"].keys()):
            self._maps["drops"].delete(key)
        context = bytearray(_SK_BUFF_BYTES)
        context[_IFINDEX_AT : _IFINDEX_AT + 4] = _IFINDEX.pack(self._ifindex)
        run = run_program(self._program, frame, context=bytes(context))
        if run.verdict == PASS_ON:
            assert self.drops() == {}
            assert run.packet == frame
            return GuardReason.NONE
        assert run.verdict == DROP
        ((reason, count),) = self.drops().items()
        assert count == 1
        return reason

    def drops(self) -> dict[GuardReason, int]:
        found = self._maps["drops"].items()
        return {
            GuardReason(DROPS_KEY.integers(key)["reason"]): DROPS_VALUE.integers(value)["packets"]
            for key, value in found.items()
        }


@contextmanager
def open_guard() -> Iterator[GuardProgramBench]:
    """Load the object for the block."""
    name = f"guard{next(_numbers)}"
    subprocess.run(f"ip link add {name} type veth peer name {name}p".split(), check=True)
    loaded = load_object(read_object(OBJECT))
    try:
        ifindex = int(Path(f"/sys/class/net/{name}/ifindex").read_text(encoding="ascii"))
        yield GuardProgramBench(loaded, ifindex)
    finally:
        loaded.close()
        subprocess.run(f"ip link del {name}".split(), check=True)
