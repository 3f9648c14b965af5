"""What must the maps have, now that this has changed?

    changes ─► what is known, packed ─► services that may differ ─► lines ─► entries ─► operations

The result depends on what is known at the end and not on how it came about, but for numbers. A
service that finds no room is left out with the reason, and tried again when there may be some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import assert_never

from terway.service.changes import (
    Batch,
    DropService,
    DropSlice,
    MapOperation,
    ServiceChange,
    SetHere,
    SetHostPorts,
    SetService,
    SetSlice,
    unpack_service,
    unpack_slice,
)
from terway.service.claims import Claims, claim_of
from terway.service.contents import FLAG_EXTERNAL, Table, pack_number, pack_set_aside
from terway.service.endpoints import count_local_ready
from terway.service.lines import Line, host_port_lines, lines_of
from terway.service.memory import Memory
from terway.service.placed import NOTHING, Placed
from terway.service.placing import NoRoomError, Placer
from terway.service.replace import replace_entries
from terway.service.room import Room, Usage
from terway.service.slots import SlotSpace
from terway.service.values import Here, HostPort, Service, Slice

HOST_PORTS = "hostPort "  # before a pod's name: no service has a blank in its own


class Compiler:
    """Follows services for one node. `memory`: what a terwayd before this one has left."""

    def __init__(self, here: Here, *, room: Room, memory: Memory | None = None) -> None:
        self._here = here
        self._room = room
        self._memory = memory or Memory()
        self._services: dict[str, bytes] = {}
        self._slices: dict[str, tuple[tuple[str, bytes], ...]] = {}  # by service, with their keys
        self._owners: dict[str, str] = {}  # of slices
        self._host_ports: dict[str, tuple[HostPort, ...]] = {}
        self._health_ports: dict[str, int] = {}
        self._claims = Claims()
        self._placed: dict[str, Placed] = {}
        self._numbers = self._memory.numbers
        self._space = SlotSpace(room.slots, self._memory.used_slots())
        self._unserved: dict[str, str] = {}
        self.usage = Usage()

    @property
    def unserved(self) -> Mapping[str, str]:
        """Return which services are not, or not wholly, in the maps, and the full map's name."""
        return MappingProxyType(self._unserved)

    @property
    def placed(self) -> Mapping[str, Placed]:
        """Return the entries of each service: a live view."""
        return MappingProxyType(self._placed)

    @property
    def here(self) -> Here:
        """Return the node that it compiles for."""
        return self._here

    def service(self, key: str) -> tuple[Service, tuple[Slice, ...]] | None:
        """Return a service with its slices."""
        packed = self._services.get(key)
        if packed is None:
            return None
        return unpack_service(packed), self._slices_of(key)

    def health(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the services with a health-check node port: that, and how many are ready here."""
        for key, port in self._health_ports.items():
            endpoints = (one for part in self._slices_of(key) for one in part.endpoints)
            yield key, (port, count_local_ready(endpoints, self._here))

    def apply(self, changes: Iterable[ServiceChange]) -> tuple[MapOperation, ...]:
        """Take the changes and return what is to be done, in order."""
        waiting: dict[str, None] = {}
        for change in changes:
            waiting.update(dict.fromkeys(self._take(change)))
        batch, round_ = Batch(), _Round()
        if waiting:
            waiting.update(dict.fromkeys(self._unserved))
        if self._memory.is_full:
            self._claim_first(tuple(waiting))
        while waiting:
            key = next(iter(waiting))
            del waiting[key]
            waiting.update(dict.fromkeys(self._compile(key, batch, round_)))
        self._end(batch, round_)
        return batch.operations()

    def forget(self) -> tuple[MapOperation, ...]:
        """Return what removes that which was left, and which nothing known has taken over."""
        batch, round_ = Batch(), _Round()
        for line in self._memory.rest():
            self._replace(Placed(lines=(line,)), NOTHING, batch, round_)
        self._memory = Memory()
        self._end(batch, round_)
        return batch.operations()

    def _end(self, batch: Batch, round_: _Round) -> None:
        for frontend in round_.left:
            if self._is_free(frontend):  # who wanted it has no room
                batch.remove(Table.FRONTENDS, frontend)
        for start, length in round_.freed:
            self._space.give_back(start, length)
        if self._numbers.reserve():
            batch.make(Table.SETS, pack_number(0), pack_set_aside(self._numbers.reserved))

    # ---- what is known

    def _take(self, change: ServiceChange) -> Iterable[str]:
        """Take note of a change; return which services may differ now."""
        match change:
            case SetService(key=key, packed=packed):
                self._services[key] = packed
                self._note_health_port(key, unpack_service(packed).health_port)
                return (key,)
            case DropService(key=key):
                self._services.pop(key, None)
                self._note_health_port(key, 0)
                return (key,)
            case SetSlice() | DropSlice():
                return self._take_slice(change)
            case SetHere(here=here):
                if here == self._here:
                    return ()
                self._here = here
                return tuple(self._services)
            case SetHostPorts(pod=pod, ports=ports):
                self._host_ports[HOST_PORTS + pod] = ports
                return (HOST_PORTS + pod,)
            case _:
                assert_never(change)

    def _note_health_port(self, key: str, port: int) -> None:
        if port:
            self._health_ports[key] = port
        else:
            self._health_ports.pop(key, None)

    def _take_slice(self, change: SetSlice | DropSlice) -> Iterator[str]:
        owner = self._owners.pop(change.key, None)
        if owner is not None:
            self._slices[owner] = tuple(one for one in self._slices[owner] if one[0] != change.key)
            if not self._slices[owner]:
                del self._slices[owner]
            yield owner
        if isinstance(change, SetSlice):
            self._owners[change.key] = change.service
            held = self._slices.get(change.service, ())
            self._slices[change.service] = (*held, (change.key, change.packed))
            yield change.service

    def _slices_of(self, key: str) -> tuple[Slice, ...]:
        return tuple(unpack_slice(packed) for _, packed in sorted(self._slices.get(key, ())))

    # ---- what becomes of a service

    def _lines(self, key: str, *, is_bare: bool = False) -> tuple[Line, ...]:
        """Return what a service comes down to; bare: without its endpoints."""
        if key.startswith(HOST_PORTS):
            return host_port_lines(self._host_ports.get(key, ()))
        packed = self._services.get(key)
        if packed is None:
            return ()
        slices = () if is_bare else self._slices_of(key)
        return lines_of(unpack_service(packed), slices, self._here)

    def _claim_first(self, keys: Iterable[str]) -> None:
        """Settle whose frontends are before anybody recalls entries by them."""
        for key in keys:
            self._claim(key, self._lines(key, is_bare=True), self._placed.get(key, NOTHING))

    def _compile(self, key: str, batch: Batch, round_: _Round) -> list[str]:
        """Bring a service's entries up to date; return whose may differ because of it."""
        lines = self._lines(key)
        known = self._placed.get(key)
        others = self._claim(key, lines, known or NOTHING)
        old = self._memory.recall(lines, self._is_of(key)) if known is None else known
        new = self._place(key, lines, old)
        if key in self._unserved:
            others += self._release(key, lines, new)
        self.usage.replace(known or NOTHING, new)
        self._replace(old, new, batch, round_)
        if new.lines:
            self._placed[key] = new
        else:
            self._placed.pop(key, None)
        return others

    def _replace(self, old: Placed, new: Placed, batch: Batch, round_: _Round) -> None:
        def is_free(frontend: bytes) -> bool:
            if not self._is_free(frontend):
                round_.left.append(frontend)
                return False
            return True

        round_.freed += replace_entries(batch, old, new, is_free)

    def _claim(self, key: str, lines: Iterable[Line], old: Placed) -> list[str]:
        """Claim the frontends of a service, and no others; return who has got or lost some."""
        wanted = {
            door.key: not door.flags & FLAG_EXTERNAL
            for line in lines
            for door in reversed(line.doors)
        }
        others = self._drop_claims(key, _doors(old) - wanted.keys())
        for door, is_own in wanted.items():
            others.append(self._claims.put(door, claim_of(key, is_own=is_own)))
            others.append(self._claims.drop(door, claim_of(key, is_own=not is_own)))
        return [one for one in others if one is not None and one != key]

    def _release(self, key: str, lines: Iterable[Line], new: Placed) -> list[str]:
        """Give up the frontends for which there is no room; return who has some of them now."""
        wanted = {door.key for line in lines for door in line.doors}
        others = self._drop_claims(key, wanted - _doors(new))
        return [one for one in others if one is not None and one != key]

    def _drop_claims(self, key: str, doors: Iterable[bytes]) -> list[str | None]:
        return [
            self._claims.drop(door, claim_of(key, is_own=is_own))
            for door in sorted(doors)
            for is_own in (True, False)
        ]

    def _is_of(self, key: str) -> Callable[[bytes], bool]:
        return lambda frontend: self._claims.winner(frontend) == key

    def _is_free(self, frontend: bytes) -> bool:
        return self._claims.winner(frontend) is None

    def _place(self, key: str, lines: tuple[Line, ...], old: Placed) -> Placed:
        """Return the entries of a service, as far as there is room."""
        self._unserved.pop(key, None)
        for tried in (lines, _known_only(lines, old)):
            try:
                return self._place_in_room(key, tried, old)
            except NoRoomError as error:
                self._unserved[key] = error.table
        return NOTHING

    def _place_in_room(self, key: str, lines: Iterable[Line], old: Placed) -> Placed:
        placer = Placer(numbers=self._numbers, space=self._space, taken=[])
        try:
            new = placer.place(lines, old, self._is_of(key))
            self._room.check(self.usage, self._placed.get(key, NOTHING), new)
        except NoRoomError:
            for start, length in placer.taken:
                self._space.give_back(start, length)
            raise
        return new


@dataclass(slots=True)
class _Round:
    """What one round gives up."""

    freed: list[tuple[int, int]] = field(default_factory=list)  # slots; free once all is done
    left: list[bytes] = field(default_factory=list)  # frontends to services that want them


def _doors(placed: Placed) -> set[bytes]:
    return {door for line in placed.lines for door in line.wanted()}


def _known_only(lines: Iterable[Line], old: Placed) -> tuple[Line, ...]:
    """Return the lines without what is new in them: that needs no more room than there was."""
    return tuple(
        line.only(frozenset(held.members()), frozenset(key for key, _ in held.frontends()))
        for line in lines
        if (held := old.line(line.key)) is not None
    )
