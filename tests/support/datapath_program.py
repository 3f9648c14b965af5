"""The data path's programs without a network: maps that a test fills, frames by BPF_PROG_TEST_RUN.

with open_datapath_program() as bench:
    bench.put_endpoint(endpoint, link=1)
    outcome = bench.run("from_pod", frame, link=1)
"""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terway.bpf_objects import object_path
from terway.linux import bpf
from terway.linux.bpf_program import program_info, run_program
from terway.linux.ebpf.contract import (
    FLOW_STATE,
    FLOW_TUPLE,
    LOCAL_NODE,
    LOSS_COUNT,
    LOSS_KEY,
    SETTINGS,
    STAMP,
)
from terway.linux.ebpf.entries import pack_address_of, pack_endpoint, pack_number, pack_prefix
from terway.linux.ebpf.losses import Loss
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.address import IPAddress, IPNetwork
from terway.model.endpoint import Endpoint

OBJECT = object_path("datapath")
GO_ON, OK, SHOT, REDIRECT = 0xFFFFFFFF, 0, 2, 7  # TC_ACT_*
LINKS = 8  # links that lead nowhere, numbered from 1 for tests

_numbers = itertools.count()
_SK_BUFF_BYTES = 192
_INGRESS_IFINDEX_AT, _IFINDEX_AT, _CB_AT, _GSO_SIZE_AT = 36, 40, 48, 176
_CB = struct.Struct("=II")
# Only as much as tests need: the kernel takes the memory of a full map at once.
_SMALL = {"flows": 4096, "pieces": 256, "choices": 4096, "affinities": 256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program did with a frame. `losses` are those that this run counted."""

    verdict: int
    frame: bytes
    losses: tuple[tuple[int, Loss], ...]  # endpoint, reason
    duration_ns: int = 0

    @property
    def went_on(self) -> bool:
        """Return whether the packet is the next filter's, and the stack's."""
        return self.verdict in (GO_ON, OK)

    @property
    def was_redirected(self) -> bool:
        """Return whether a helper sent it on, past the stack."""
        return self.verdict == REDIRECT


class DataPathBench:
    """The loaded object, and links that lead nowhere (TEST_RUN wants real ones)."""

    def __init__(self, loaded: LoadedObject, ifindexes: list[int]) -> None:
        self._loaded = loaded
        self._ifindexes = ifindexes
        self.maps = {name: bpf.map_of(fd) for name, fd in loaded.maps.items()}

    def ifindex(self, link: int) -> int:
        """Return the number that the kernel has for one of the links, 1 to LINKS."""
        return self._ifindexes[link - 1]

    def put_endpoint(self, one: Endpoint, *, link: int) -> None:
        """Have an endpoint, its addresses and its link known. `link` 0: it has none on the node."""
        ifindex = self.ifindex(link) if link else 0
        self.maps["endpoints"].update(pack_number(one.number), pack_endpoint(one, ifindex))
        for address in one.addresses:
            self.maps["locals"].update(pack_address_of(address), pack_number(one.number))
        if link:
            self.maps["links"].update(pack_number(ifindex), pack_number(one.number))

    def put_node_address(self, address: IPAddress) -> None:
        """Have an address known as the node's own."""
        self.maps["locals"].update(pack_address_of(address), pack_number(LOCAL_NODE))

    def put_host_stack(self, network: IPNetwork) -> None:
        """Leave a prefix to the node's own stack."""
        self.maps["host_stack"].update(pack_prefix(network), pack_number(1))

    def set(self, **fields: int | bytes) -> None:
        """Write the only entry of `settings`; fields left out are zero."""
        self.maps["settings"].update(pack_number(0), SETTINGS.pack(**fields))

    def flows(self) -> dict[tuple[tuple[str, int | bytes], ...], dict[str, int | bytes]]:
        """Return what is remembered of connections, fields by name."""
        return {
            tuple(FLOW_TUPLE.unpack(key).items()): FLOW_STATE.unpack(value)
            for key, value in self.maps["flows"].items().items()
        }

    def forget(self, *names: str) -> None:
        """Empty maps: by default all that the programs remember."""
        for name in names or ("flows", "pieces", "choices", "affinities", "losses"):
            if name in self.maps:
                held = self.maps[name]
                for key in list(held.keys()):
                    held.delete(key)

    def run(
        self,
        program: str,
        frame: bytes,
        *,
        link: int = 1,
        endpoint: int = 0,
        gso_size: int = 0,
        came_by: int = 0,
        repeat: int = 1,
    ) -> Outcome:
        """Run a program on a frame at a link; inside a pod, `endpoint` is what its stamp says.

        `came_by` is the link by which the stack got what it forwards; 0: it is the stack's own.
        """
        context = bytearray(_SK_BUFF_BYTES)
        context[_IFINDEX_AT : _IFINDEX_AT + 4] = pack_number(self.ifindex(link))
        if came_by:
            way_in = pack_number(self.ifindex(came_by))
            context[_INGRESS_IFINDEX_AT : _INGRESS_IFINDEX_AT + 4] = way_in
        context[_GSO_SIZE_AT : _GSO_SIZE_AT + 4] = pack_number(gso_size)
        if endpoint:
            context[_CB_AT : _CB_AT + 8] = _CB.pack(endpoint, STAMP)
        before = self.losses()
        descriptor = self._loaded.programs[program]
        run = run_program(descriptor, frame, context=bytes(context), repeat=repeat)
        counted = self.losses()
        return Outcome(
            verdict=run.verdict,
            frame=run.packet,
            losses=tuple(key for key, count in counted.items() if count > before.get(key, 0)),
            duration_ns=run.duration_ns,
        )

    def losses(self) -> dict[tuple[int, Loss], int]:
        """Return how many packets were lost, by endpoint and reason."""
        held = self.maps["losses"]
        size = held.value_bytes // bpf.possible_cpus()
        found: dict[tuple[int, Loss], int] = {}
        for key, value in held.items().items():
            parts = (value[at : at + size] for at in range(0, len(value), size))
            packets = sum(LOSS_COUNT.integers(part[: LOSS_COUNT.size])["packets"] for part in parts)
            numbers = LOSS_KEY.integers(key)
            found[numbers["endpoint"], Loss(numbers["reason"])] = packets
        return found

    def verified_instructions(self) -> dict[str, int]:
        """Return how many instructions the verifier walked for each program."""
        fds = self._loaded.programs.items()
        return {name: program_info(fd).verified_instructions for name, fd in fds}


@contextmanager
def open_datapath_program(
    *, max_entries: Mapping[str, int] | None = None, constants: bytes | None = None
) -> Iterator[DataPathBench]:
    """Load the object for the block; small maps, unless `max_entries` says otherwise."""
    names = [f"dp{next(_numbers)}" for _ in range(LINKS)]
    for name in names:
        words = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"]
        subprocess.run(words, check=True)
    spec = read_object(OBJECT)
    known = {one.name for one in spec.maps}
    sizes = {name: size for name, size in _SMALL.items() if name in known}
    loaded = load_object(spec, max_entries={**sizes, **(max_entries or {})}, constants=constants)
    try:
        yield DataPathBench(loaded, [_ifindex(name) for name in names])
    finally:
        loaded.close()
        for name in names:
            subprocess.run(["ip", "link", "del", name], check=True)


def _ifindex(name: str) -> int:
    return int(Path(f"/sys/class/net/{name}/ifindex").read_text(encoding="ascii"))
