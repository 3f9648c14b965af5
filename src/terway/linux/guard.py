"""The guard of pods' links: one program for all of them, attached to each, and one entry for each.

owners[ifindex] = addresses, MAC          written first: from its first packet on
filter on clsact ingress of the link      goes with the link, stays when terwayd goes; a link that
                                          was there before terwayd has it without one (living_links)
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from terway.bpf_objects import object_path
from terway.linux import bpf_find
from terway.linux.bpf import Map
from terway.linux.guard_contract import (
    DROPS_KEY,
    DROPS_VALUE,
    GuardReason,
    pack_owner,
    unpack_owner,
)
from terway.linux.netlink import link
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import LoadedProgram, SharedProgram
from terway.model.traffic import Guard

OBJECT = object_path("guard")
PROGRAM = "terway_guard"
PRIORITY = 100  # before the filters that others put on pods' links (upstream's eBPF: 25000 on)

_IFINDEX = struct.Struct("=I")


class Guards:
    """The guards of one network namespace, that of the node."""

    def __init__(self) -> None:
        self._program = SharedProgram(OBJECT, PROGRAM, hook=Hook.INGRESS, priority=PRIORITY)

    def open(self, sock: RouteSocket) -> LoadedProgram:
        """Return the program, loading or finding it the first time (some 10 ms)."""
        return self._program.open(sock)

    def requests(self, sock: RouteSocket, guard: Guard, ifindex: int) -> tuple[Request, ...]:
        """Say whom the link belongs to; return what makes the program see its packets."""
        owners = self._program.open(sock).maps["owners"]
        owners.update(_IFINDEX.pack(ifindex), pack_owner(guard))
        if guard.is_on_living_link:
            return self._program.join(sock, ifindex)
        return self._program.attach(sock, ifindex)

    def remove(self, ifindex: int) -> Request:
        """Return what takes the guard from a link."""
        return self._program.detach(ifindex)

    def read(self, sock: RouteSocket, name: str, ifindex: int) -> Guard | None:
        """Return the guard of a link; None where none, or another program's, is attached."""
        if not self._program.is_attached(sock, ifindex):
            return None
        owner = self._program.maps["owners"].lookup(_IFINDEX.pack(ifindex))
        return None if owner is None else unpack_owner(name, owner)

    def forget_others(self, ifindexes: Collection[int]) -> None:
        """Forget the links that are gone: all but these."""
        for name in ("owners", "drops") if self._program.maps else ():
            held = self._program.maps[name]
            for key in list(held.keys()):
                if _IFINDEX.unpack_from(key)[0] not in ifindexes:
                    held.delete(key)


def read_drops(sock: RouteSocket, name: str) -> dict[GuardReason, int] | None:
    """Return what the guard of a link has dropped, by reason; None when the link has no guard.

    For tools: it asks the program that is attached, whoever loaded it.
    """
    found = sock.first(link.by_name(name))
    if found is None:
        return None
    program = SharedProgram(OBJECT, PROGRAM, hook=Hook.INGRESS, priority=PRIORITY)
    for one in program.attached(sock, found.ifindex):
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
