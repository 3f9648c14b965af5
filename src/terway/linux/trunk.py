"""Members of a trunk ENI: two programs at its hooks, and what they know of each member.

    egress    sources[address] = VLAN id, MAC     put on the tag, after all others of ours
              devices[VLAN id] = MAC              let a VLAN device's tag pass from its own alone
    ingress   members[VLAN id] = MAC              take it off, before all others

Entries are written before the programs see a packet. Nothing is pinned (`shared_program`): what a
terwayd before this one had told programs of other instructions is taken over before they go.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from terway.bpf_objects import object_path
from terway.linux import bpf_find
from terway.linux.bpf import Map
from terway.linux.netlink import link
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import SharedProgram
from terway.linux.trunk_contract import (
    POP_PRIORITY,
    POP_PROGRAM,
    TrunkLoss,
    pack_member,
    pack_number,
    pack_source,
)
from terway.model.network import Link
from terway.model.traffic import TrunkMember, TrunkPrograms

PUSH, POP = object_path("trunk_push"), object_path("trunk_pop")
PUSH_PROGRAM = "terway_trunk_push"
PUSH_PRIORITY = 320  # after the classes of priorities (300), which read headers


def _push() -> SharedProgram:
    return SharedProgram(PUSH, PUSH_PROGRAM, hook=Hook.EGRESS, priority=PUSH_PRIORITY)


def _pop() -> SharedProgram:
    return SharedProgram(POP, POP_PROGRAM, hook=Hook.INGRESS, priority=POP_PRIORITY)


def programs() -> tuple[SharedProgram, SharedProgram]:
    """Return both, and where they belong: what puts tags on, what takes them off."""
    return _push(), _pop()


class Trunks:
    """The trunks of one network namespace, that of the node."""

    def __init__(self) -> None:
        self._programs = programs()
        self._lock = threading.Lock()
        self._is_taken_over = False

    def puts(
        self, sock: RouteSocket, wanted: TrunkMember | TrunkPrograms, ifindex: int
    ) -> tuple[Request, ...]:
        """Say what the programs are to know; return what makes them see the trunk's packets."""
        self._open(sock)
        if isinstance(wanted, TrunkMember):
            self.know(sock, (wanted,))
        return tuple(chain.from_iterable(one.attach(sock, ifindex) for one in self._programs))

    def know(self, sock: RouteSocket, members: Iterable[TrunkMember]) -> None:
        """Say what the programs are to know, before they see a packet of it."""
        self._open(sock)
        for one in members:
            for entries, key, value in self._entries(one):
                entries.update(key, value)

    def removals(
        self, sock: RouteSocket, unwanted: TrunkMember | TrunkPrograms, ifindex: int
    ) -> tuple[Request, ...]:
        """Forget a member; or return what takes the programs from a trunk."""
        if isinstance(unwanted, TrunkPrograms):
            return tuple(one.detach(ifindex) for one in self._programs)
        self._open(sock)
        self.forget(unwanted)
        return ()

    def forget(self, unwanted: TrunkMember) -> None:
        """Forget a member; what is another's by now stays."""
        if not self._is_taken_over:
            return
        for entries, key, value in self._entries(unwanted):
            if entries.lookup(key) == value:
                entries.delete(key)

    def forget_others(self, members: Collection[TrunkMember]) -> None:
        """Forget whoever is not among `members`: an address may be somebody else's by now."""
        if not self._is_taken_over:
            return
        kept = {(entries.fd, key) for one in members for entries, key, _ in self._entries(one)}
        push, pop = (one.maps for one in self._programs)
        for entries in (push["sources"], push["devices"], pop["members"]):
            for key in list(entries.keys()):
                if (entries.fd, key) not in kept:
                    entries.delete(key)

    def losses(self) -> dict[TrunkLoss, int]:
        """Return what the programs have lost, by reason; empty before there was any member."""
        held = (one.maps["losses"] for one in self._programs) if self._is_taken_over else ()
        found: dict[TrunkLoss, int] = {}
        for counts in held:
            _add_losses(found, counts)
        return found

    def read_member(self, sock: RouteSocket, wanted: TrunkMember) -> TrunkMember | None:
        """Return `wanted` where all of it is so, and the programs see the packets; else None."""
        ifindex = sock.index_of(wanted.link)
        if ifindex is None or not self._has_programs(sock, ifindex):
            return None
        is_known = all(
            entries.lookup(key) == value for entries, key, value in self._entries(wanted)
        )
        return wanted if is_known else None

    def read_programs(self, sock: RouteSocket, links: Iterable[Link]) -> Iterator[TrunkPrograms]:
        """Yield the links that have our programs; of a node without members, nothing is asked."""
        for one in links if self._is_taken_over else ():
            if self._has_programs(sock, one.ifindex):
                yield TrunkPrograms(link=one.name)

    def _has_programs(self, sock: RouteSocket, ifindex: int) -> bool:
        self._open(sock)
        return all(one.is_attached(sock, ifindex) for one in self._programs)

    def _open(self, sock: RouteSocket) -> None:
        """Load or find the programs, and what those before them knew (some 20 ms, once)."""
        with self._lock:
            if self._is_taken_over:
                return
            for one in self._programs:
                _take_over(sock, one, one.open(sock).maps)
            self._is_taken_over = True

    def _entries(self, member: TrunkMember) -> Iterator[tuple[Map, bytes, bytes]]:
        push, pop = (one.maps for one in self._programs)
        value = pack_member(member)
        yield pop["members"], pack_number(member.vlan_id), value
        if member.has_device:
            yield push["devices"], pack_number(member.vlan_id), value
        for address in member.addresses:
            yield push["sources"], pack_source(address), value


def _take_over(sock: RouteSocket, program: SharedProgram, maps: Mapping[str, Map]) -> None:
    """Copy what other programs of that place know: from its first packet on, ours knows it."""
    own = program.open(sock).number
    for found in sock.query(link.all_links()):
        for one in program.attached(sock, found.ifindex):
            if one.number != own:
                _copy(one.number, maps)


def _copy(number: int, maps: Mapping[str, Map]) -> None:
    with bpf_find.program_maps(number) as theirs:
        for name in maps.keys() & theirs.keys():
            for key, value in theirs[name].items().items():
                maps[name].update(key, value)


def read_losses(sock: RouteSocket, name: str) -> dict[TrunkLoss, int] | None:
    """Return what the programs of a trunk have lost, by reason; None where it has none.

    For tools: it asks the programs that are attached, whoever loaded them.
    """
    ifindex = sock.index_of(name)
    if ifindex is None:
        return None
    held = [one for program in programs() for one in program.attached(sock, ifindex)]
    if not held:
        return None
    found: dict[TrunkLoss, int] = {}
    for one in held:
        with bpf_find.program_maps(one.number) as maps:
            if "losses" in maps:
                _add_losses(found, maps["losses"])
    return {why: count for why, count in found.items() if count}


def _add_losses(found: dict[TrunkLoss, int], counts: Map) -> None:
    for why in TrunkLoss:
        value = counts.lookup(pack_number(why)) or b""
        found[why] = found.get(why, 0) + int.from_bytes(value, sys.byteorder)
