"""One eBPF program for many links: loaded once, and found again by the next terwayd.

Nothing is pinned: a filter on a link keeps program and maps alive, and the last link takes them
along. A terwayd that starts finds the program by a filter that is there, and goes on with its maps;
one that brings another program replaces the filters, each in one step. Blocking; for workers,
several at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from terway.linux import bpf_find, living_links
from terway.linux.bpf import Map, map_of
from terway.linux.bpf_program import program_info
from terway.linux.libbpf import load_object, read_object
from terway.linux.netlink import link, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.qdisc import qdiscs_of
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import AttachedProgram, Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProgram:
    """The program and its maps: descriptors that are open as long as the process lives."""

    fd: int
    number: int
    tag: str
    maps: dict[str, Map]


class SharedProgram:
    """A program of the object at `path`, and where on a link it belongs."""

    def __init__(self, path: Path, name: str, *, hook: Hook, priority: int) -> None:
        self._path = path
        self._name = name
        self._hook = hook
        self._priority = priority
        self._lock = threading.Lock()
        self._loaded: LoadedProgram | None = None

    @property
    def maps(self) -> dict[str, Map]:
        """Return the maps, none as long as the program is not loaded."""
        return {} if self._loaded is None else self._loaded.maps

    def open(self, sock: RouteSocket) -> LoadedProgram:
        """Return the program, loading or finding it the first time (some 10 ms)."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._find(sock, self._load())
            return self._loaded

    def attach(self, sock: RouteSocket, ifindex: int) -> tuple[Request, ...]:
        """Return what makes the program see a link's packets."""
        return (
            traffic.put_clsact(ifindex),
            traffic.put_program(
                ifindex,
                self._hook,
                program_fd=self.open(sock).fd,
                name=self._name,
                priority=self._priority,
            ),
        )

    def join(self, sock: RouteSocket, ifindex: int) -> tuple[Request, ...]:
        """As `attach`, to a link that carries packets already: none is lost where that can be."""
        has_clsact = any(one.kind == "clsact" for one in sock.query(qdiscs_of(ifindex)))
        fd = self.open(sock).fd
        if not has_clsact and living_links.put(ifindex, self._hook, fd, self._name):
            return ()
        return self.attach(sock, ifindex)

    def detach(self, ifindex: int) -> Request:
        """Return what takes the program from a link."""
        living_links.remove(ifindex, self._hook, self._name)
        return traffic.remove_programs(ifindex, self._hook, priority=self._priority)

    def attached(self, sock: RouteSocket, ifindex: int) -> Iterator[AttachedProgram]:
        """Yield the programs of that name at that place of a link, whoever loaded them."""
        wanted = (self._name, self._priority)
        found = sock.query(traffic.attached_programs(ifindex, self._hook))
        own = [one for one in found if (one.name, one.priority) == wanted]
        yield from own
        for number in () if own else living_links.programs(ifindex, self._hook, self._name):
            yield AttachedProgram(name=self._name, number=number, priority=self._priority, handle=0)

    def is_attached(self, sock: RouteSocket, ifindex: int) -> bool:
        """Return whether this very program sees a link's packets."""
        number = self.open(sock).number
        return any(one.number == number for one in self.attached(sock, ifindex))

    def _load(self) -> LoadedProgram:
        with closing(load_object(read_object(self._path))) as loaded:
            # libbpf's own descriptors, and what it remembers of the file, go with its object.
            fd = os.dup(loaded.programs[self._name])
            maps = {name: map_of(os.dup(one)) for name, one in loaded.maps.items()}
        return _described(fd, maps)

    def _find(self, sock: RouteSocket, own: LoadedProgram) -> LoadedProgram:
        """Return the program that is on a link already if it is ours to the letter, else `own`."""
        links = (one.ifindex for one in sock.query(link.all_links()))
        first = next((one for ifindex in links for one in self.attached(sock, ifindex)), None)
        fd = None if first is None else bpf_find.open_program(first.number)
        if fd is None:
            return own
        found = _described(fd, bpf_find.open_maps(fd))
        keep, drop = (found, own) if found.tag == own.tag else (own, found)
        for one in (drop.fd, *(held.fd for held in drop.maps.values())):
            os.close(one)
        return keep


def _described(fd: int, maps: dict[str, Map]) -> LoadedProgram:
    about = program_info(fd)
    return LoadedProgram(fd=fd, number=about.id, tag=about.tag, maps=maps)
