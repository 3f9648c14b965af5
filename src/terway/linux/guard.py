"""The guard of pods' links: one program for all of them, attached to each, and one entry for each.

    owners[ifindex] = addresses, MAC          written first: from its first packet on
    filter on clsact ingress of the link      goes with the link, stays when terwayd goes

Nothing is pinned. A terwayd that starts finds the program by a filter that is there, and goes on
with its maps; one that brings another program replaces the filters one by one, each in one step.
Blocking; for workers, several at once.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass

from terway.bpf_objects import object_path
from terway.linux import bpf_find
from terway.linux.bpf import Map, map_of
from terway.linux.bpf_program import program_info
from terway.linux.guard_contract import (
    DROPS_KEY,
    DROPS_VALUE,
    GuardReason,
    pack_owner,
    unpack_owner,
)
from terway.linux.libbpf import load_object, read_object
from terway.linux.netlink import link, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import AttachedProgram, Hook
from terway.model.traffic import Guard

OBJECT = object_path("guard")
PROGRAM = "terway_guard"
PRIORITY = 100  # before the filters that others put on pods' links (upstream's eBPF: 25000 on)

_IFINDEX = struct.Struct("=I")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardProgram:
    """The program and its maps: descriptors that are open as long as the process lives."""

    fd: int
    number: int
    tag: str
    maps: dict[str, Map]


class Guards:
    """The guards of one network namespace, that of the node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: GuardProgram | None = None

    def open(self, sock: RouteSocket) -> GuardProgram:
        """Return the program, loading or finding it the first time (some 10 ms)."""
        with self._lock:
            if self._program is None:
                self._program = _find(sock, _load())
            return self._program

    def requests(self, sock: RouteSocket, guard: Guard, ifindex: int) -> tuple[Request, ...]:
        """Say whom the link belongs to; return what makes the program see its packets."""
        program = self.open(sock)
        program.maps["owners"].update(_IFINDEX.pack(ifindex), pack_owner(guard))
        return (
            traffic.put_clsact(ifindex),
            traffic.put_program(
                ifindex, Hook.INGRESS, program_fd=program.fd, name=PROGRAM, priority=PRIORITY
            ),
        )

    def read(self, sock: RouteSocket, name: str, ifindex: int) -> Guard | None:
        """Return the guard of a link; None where none, or another program's, is attached."""
        program = self.open(sock)
        if not any(one.number == program.number for one in _attached(sock, ifindex)):
            return None
        owner = program.maps["owners"].lookup(_IFINDEX.pack(ifindex))
        return None if owner is None else unpack_owner(name, owner)

    def forget_others(self, ifindexes: Collection[int]) -> None:
        """Forget the links that are gone: all but these."""
        if self._program is None:
            return
        for name in ("owners", "drops"):
            held = self._program.maps[name]
            for key in list(held.keys()):
                if _IFINDEX.unpack_from(key)[0] not in ifindexes:
                    held.delete(key)


def remove(ifindex: int) -> Request:
    """Return what takes the guard from a link."""
    return traffic.remove_programs(ifindex, Hook.INGRESS, priority=PRIORITY)


def read_drops(sock: RouteSocket, name: str) -> dict[GuardReason, int] | None:
    """Return what the guard of a link has dropped, by reason; None when the link has no guard.

    For tools: it asks the program that is attached, whoever loaded it.
    """
    found = sock.first(link.by_name(name))
    if found is None:
        return None
    for one in _attached(sock, found.ifindex):
        with bpf_find.program_maps(one.number) as maps:
            if "drops" in maps:
                return _drops_of(maps["drops"], found.ifindex)
    return None


def _drops_of(drops: Map, ifindex: int) -> dict[GuardReason, int]:
    found: dict[GuardReason, int] = {}
    for reason in GuardReason:
        value = drops.lookup(DROPS_KEY.pack(ifindex=ifindex, reason=reason))
        if value is not None:
            found[reason] = DROPS_VALUE.integers(value)["packets"]
    return found


def _attached(sock: RouteSocket, ifindex: int) -> Iterator[AttachedProgram]:
    found = sock.query(traffic.attached_programs(ifindex, Hook.INGRESS))
    return (one for one in found if one.name == PROGRAM and one.priority == PRIORITY)


def _load() -> GuardProgram:
    with closing(load_object(read_object(OBJECT))) as loaded:
        # libbpf's own descriptors, and what it remembers of the file, go with its object.
        fd = os.dup(loaded.programs[PROGRAM])
        maps = {name: map_of(os.dup(one)) for name, one in loaded.maps.items()}
    return _described(fd, maps)


def _described(fd: int, maps: dict[str, Map]) -> GuardProgram:
    about = program_info(fd)
    return GuardProgram(fd=fd, number=about.id, tag=about.tag, maps=maps)


def _find(sock: RouteSocket, own: GuardProgram) -> GuardProgram:
    """Return the program that guards links already if it is ours to the letter, else `own`."""
    veths = (one for one in sock.query(link.all_links()) if one.kind == "veth")
    first = next((one for veth in veths for one in _attached(sock, veth.ifindex)), None)
    fd = None if first is None else bpf_find.open_program(first.number)
    if fd is None:
        return own
    found = _described(fd, bpf_find.open_maps(fd))
    keep, drop = (found, own) if found.tag == own.tag else (own, found)
    for one in (drop.fd, *(held.fd for held in drop.maps.values())):
        os.close(one)
    return keep
