"""The fabric's program without a network: maps filled from a state, frames by BPF_PROG_TEST_RUN."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from terway.lab.vpc.contract import (
    CONNECTION,
    FLOW,
    SERVICES_MAC,
    SERVICES_MTU_BYTES,
    DropReason,
    pack_u32,
    port_number,
)
from terway.lab.vpc.counters import PortCounters, add_counters
from terway.lab.vpc.kernel import OBJECT
from terway.lab.vpc.numbers import Numbers
from terway.lab.vpc.plan import PutEntry, plan_tables
from terway.lab.vpc.state import VpcState
from terway.lab.vpc.tables import Tables, Wiring, compile_tables
from terway.linux import bpf
from terway.linux.bpf_program import ProgramRun, program_info, run_program
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.ids import ENIId

DROP, REDIRECT = 2, 7
SERVICES = ENIId("services")
_LINKS = 6
_SK_BUFF_BYTES = 192
_IFINDEX_AT, _GSO_SIZE_AT = 40, 176


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the program did with a frame."""

    verdict: int
    frame: bytes
    drops: tuple[tuple[ENIId, DropReason], ...]
    delivered_to: tuple[ENIId, ...]
    answered_at: tuple[ENIId, ...]


class FabricProgram:
    """A loaded fabric with up to five ports on links that lead nowhere."""

    def __init__(self, loaded: LoadedObject, ifindexes: list[int]) -> None:
        self._loaded = loaded
        self._maps = {name: bpf.map_of(fd) for name, fd in loaded.maps.items()}
        self._ifindexes = ifindexes
        self._numbers = Numbers()
        self._ports: dict[ENIId, int] = {}
        self._make_counters((0, *ifindexes))

    def _make_counters(self, numbers: Iterable[int]) -> None:
        counters = self._maps["counters"]
        there = set(counters.keys())
        for number in numbers:
            if pack_u32(number) not in there:
                counters.update(pack_u32(number), bytes(counters.value_bytes))

    def load(self, state: VpcState) -> None:
        """Make the maps hold `state`; flows stay."""
        spare = iter(self._ifindexes[1:])
        self._numbers = self._numbers.after(state)
        links = {port.eni_id: next(spare) for port in state.ports if port.trunk_id is None}
        self._ports = {
            port.eni_id: port_number(links[port.trunk_id or port.eni_id], port.vlan_id)
            for port in state.ports
        }
        self._make_counters(self._ports.values())
        wiring = Wiring(
            ports=self._ports,
            services=self._ifindexes[0],
            services_mac=SERVICES_MAC,
            services_mtu_bytes=SERVICES_MTU_BYTES,
        )
        for operation in plan_tables(compile_tables(state, wiring, self._numbers), self._tables()):
            changed = self._maps[operation.table]
            if isinstance(operation, PutEntry):
                changed.update(operation.key, operation.value)
            else:
                changed.delete(operation.key)

    def _tables(self) -> Tables:
        return Tables(
            rule_lists=dict.fromkeys(self._maps["rule_lists"].keys(), b""),
            ports=self._maps["ports"].items(),
            addresses=self._maps["addresses"].items(),
            routes=self._maps["routes"].items(),
            access_lists=self._maps["access_lists"].items(),
            listeners=self._maps["listeners"].items(),
        )

    def forget_flows(self) -> None:
        for name in ("flows", "fragments", "connections", "turns"):
            for key in list(self._maps[name].keys()):
                self._maps[name].delete(key)

    def age_flows(self, seconds: float) -> None:
        """Make all flows look as if nothing had come for `seconds` more."""
        flows = self._maps["flows"]
        for key, value in flows.items().items():
            fields = FLOW.unpack(value)
            aged = {**fields, "last_seen": int(fields["last_seen"]) - int(seconds * 1e9)}
            flows.update(key, FLOW.pack(**aged))

    def age_connections(self, seconds: float) -> None:
        """Make all balanced connections look as if nothing had come for `seconds` more."""
        connections = self._maps["connections"]
        for key, value in connections.items().items():
            fields = CONNECTION.unpack(value)
            aged = {**fields, "last_seen": int(fields["last_seen"]) - int(seconds * 1e9)}
            connections.update(key, CONNECTION.pack(**aged))

    def send(self, eni_id: ENIId, frame: bytes, *, gso_size: int = 0) -> Observed:
        """Run the program on a frame that arrives by the link of `eni_id`, or from the services.

        A tag that the program puts on is beside the frame, where BPF_PROG_TEST_RUN shows none.
        """
        is_service = eni_id == SERVICES
        program = "fabric_services" if is_service else "fabric_port"
        ifindex = self._ifindexes[0] if is_service else self._ports[eni_id]
        context = bytearray(_SK_BUFF_BYTES)
        context[_IFINDEX_AT : _IFINDEX_AT + 4] = pack_u32(ifindex)
        context[_GSO_SIZE_AT : _GSO_SIZE_AT + 4] = pack_u32(gso_size)
        before = self._counters()
        run = run_program(self._loaded.programs[program], frame, context=bytes(context))
        return _observe(run, before, self._counters())

    @cached_property
    def verified_instructions(self) -> Mapping[str, int]:
        fds = self._loaded.programs.items()
        return {name: program_info(fd).verified_instructions for name, fd in fds}

    def _counters(self) -> dict[ENIId, PortCounters]:
        counters = self._maps["counters"]
        size = counters.value_bytes // bpf.possible_cpus()
        found = {}
        for eni_id, ifindex in {**self._ports, SERVICES: self._ifindexes[0]}.items():
            value = counters.lookup(pack_u32(ifindex)) or b""
            parts = [value[i : i + size] for i in range(0, len(value), size)]
            found[eni_id] = add_counters(parts)
        return found


def _observe(
    run: ProgramRun, before: dict[ENIId, PortCounters], after: dict[ENIId, PortCounters]
) -> Observed:
    drops = [
        (eni_id, reason)
        for eni_id, now in after.items()
        for reason, count in now.drops.items()
        for _ in range(count - before[eni_id].drops.get(reason, 0))
    ]
    got = [e for e, now in after.items() if now.ingress_packets > before[e].ingress_packets]
    answered = [e for e, now in after.items() if now.answered > before[e].answered]
    return Observed(
        verdict=run.verdict,
        frame=run.packet,
        drops=tuple(drops),
        delivered_to=tuple(got),
        answered_at=tuple(answered),
    )


@contextmanager
def open_program() -> Iterator[FabricProgram]:
    """Load the object, and make the links that its ports stand for (TEST_RUN wants real ones)."""
    names = [f"bench{i}" for i in range(_LINKS)]
    for name in names:
        words = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"]
        subprocess.run(words, check=True)
    loaded = load_object(read_object(OBJECT), max_entries={"flows": 4096})
    try:
        yield FabricProgram(loaded, [_ifindex(name) for name in names])
    finally:
        loaded.close()
        for name in names:
            subprocess.run(["ip", "link", "del", name], check=True)


def _ifindex(name: str) -> int:
    return int(Path(f"/sys/class/net/{name}/ifindex").read_text(encoding="ascii"))
