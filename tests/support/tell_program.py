"""bpf/tell.h in a program of its own, with its maps pinned as those of the data path are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from hatch_build import WARNINGS

from terway.linux import bpf
from terway.linux.bpf_program import run_program
from terway.linux.ebpf.contract import FLOW_TUPLE, Happening
from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.told import ToldMaps, Tuple, open_told
from terway.linux.layout import Layout
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.address import IPAddress

SOURCE = Path(__file__).with_name("tell.bpf.c")
HEADERS = SOURCE.parents[2] / "bpf"
FRAME = bytes(12) + b"\x08\x00" + bytes(86)
_ASKED = Layout(
    name="asked",
    fields=(
        ("flow", "40s"),
        ("frontend", "16s"),
        ("frontend_port", "2s"),
        ("happening", "B"),
        ("reason", "B"),
        ("endpoint", "I"),
    ),
)
_ONLY = bytes(4)


class TellProgram:
    """The loaded program. `maps` are opened by their pins."""

    def __init__(self, loaded: LoadedObject, maps: ToldMaps) -> None:
        self._program = loaded.programs["tell"]
        self._asks = bpf.map_of(loaded.maps["asks"])
        self.maps = maps

    def lose(self, reason: Loss, *, endpoint: int = 0, flow: Tuple | None = None) -> None:
        """Lose a packet."""
        self._run(endpoint=endpoint, reason=reason, flow=packed(flow))

    def happen(
        self,
        happening: Happening,
        flow: Tuple,
        *,
        endpoint: int = 0,
        frontend: tuple[IPAddress, int] | None = None,
    ) -> None:
        """Have something happen to a connection."""
        address, port = frontend or (ip_address("0.0.0.0"), 0)
        self._run(
            endpoint=endpoint,
            happening=happening,
            flow=packed(flow),
            frontend=address.packed,
            frontend_port=port.to_bytes(2, "big"),
        )

    def _run(self, **asked: int | bytes) -> None:
        self._asks.update(_ONLY, _ASKED.pack(**asked))
        run_program(self._program, FRAME)


def packed(flow: Tuple | None) -> bytes:
    """Return a connection as the programs know it."""
    if flow is None:
        return bytes(FLOW_TUPLE.size)
    return FLOW_TUPLE.pack(
        source=flow.source.packed,
        destination=flow.destination.packed,
        source_port=flow.source_port.to_bytes(2, "big"),
        destination_port=flow.destination_port.to_bytes(2, "big"),
        protocol=flow.protocol,
        family=flow.source.version,
    )


def build_tell(folder: Path) -> Path:
    """Compile the program."""
    output = folder / "tell.bpf.o"
    flags = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I/usr/include/x86_64-linux-gnu")
    subprocess.run(
        ["clang", *flags, *WARNINGS, f"-I{HEADERS}", "-c", SOURCE, "-o", output], check=True
    )
    return output


@contextmanager
def open_tell(built: Path, pins: Path) -> Iterator[TellProgram]:
    """Load the program for the block, and pin its maps in `pins`, which is in a bpffs."""
    loaded = load_object(read_object(built))
    pins.mkdir()
    try:
        for name in ("losses", "watching", "untold", "events"):
            bpf.pin(loaded.maps[name], pins / name)
        with open_told(pins) as maps:
            assert maps is not None
            yield TellProgram(loaded, maps)
    finally:
        for pin in pins.iterdir():
            pin.unlink()
        pins.rmdir()
        loaded.close()
