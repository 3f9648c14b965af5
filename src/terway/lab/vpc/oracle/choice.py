"""To which backend does a client's packet go? The same answers as bpf/choose_backend.h.

Hashes are FNV-1a over the words of the addresses in the machine's byte order.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from terway.lab.vpc.contract import DropReason, pack_address
from terway.lab.vpc.oracle.packet import TCP, Packet
from terway.lab.vpc.scheduling import is_open, slots_of
from terway.lab.vpc.state import Balancer, Listener, Scheduler, Server
from terway.model.address import IPAddress
from terway.model.ids import VpcId

_SEED, _FACTOR, _WORD = 2166136261, 16777619, 0xFFFFFFFF

At = tuple[VpcId, int, IPAddress, int]
"""VPC, protocol, address and port of a listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is put into a packet: a destination, or, of an answer, a source."""

    address: IPAddress
    port: int
    is_answer: bool = False


class Choices:
    """What one fabric's listeners remember: whose turn it is, and which backend a client had."""

    def __init__(self) -> None:
        self._turns: dict[At, int] = {}
        self._clients: dict[tuple[At, IPAddress], Target] = {}

    def choose(self, balancer: Balancer, listener: Listener, packet: Packet) -> Target | DropReason:
        """Return the backend of a new connection, or why there is none."""
        if not is_let_in(packet.source, listener):
            return DropReason.ACCESS
        at = (balancer.vpc_id, listener.protocol, balancer.address, listener.port)
        chosen = self._persistent(at, listener, packet) or self._by_slot(at, listener, packet)
        if chosen is None:
            return DropReason.NO_BACKEND
        if listener.persistence_s:
            self._clients[at, packet.source] = chosen
        return chosen

    def _persistent(self, at: At, listener: Listener, packet: Packet) -> Target | None:
        held = self._clients.get((at, packet.source)) if listener.persistence_s else None
        server = find_server(listener, held) if held is not None else None
        return held if server is not None and is_open(server) else None

    def _by_slot(self, at: At, listener: Listener, packet: Packet) -> Target | None:
        slots = slots_of(listener)
        if not slots:
            return None
        server = listener.all_servers[slots[self._number(at, listener, packet) % len(slots)]]
        return Target(address=server.address, port=server.port)

    def _number(self, at: At, listener: Listener, packet: Packet) -> int:
        match listener.scheduler:
            case Scheduler.TURNS:
                self._turns[at] = self._turns.get(at, 0) + 1
                return self._turns[at] - 1
            case Scheduler.SOURCE:
                return _folded(_words(pack_address(packet.source)))
            case Scheduler.HASH | Scheduler.TUPLE:
                return hash_of(packet)


def find_listener(balancer: Balancer, packet: Packet) -> Listener | None:
    """Return the listener that a packet is for, if there is one."""
    wanted = (packet.protocol, packet.destination_port)
    found = (one for one in balancer.listeners if (one.protocol, one.port) == wanted)
    return next(found, None)


def find_server(listener: Listener, held: Target) -> Server | None:
    """Return the backend that a connection has, if the listener lists it."""
    found = (one for one in listener.all_servers if one.port == held.port)
    return next((one for one in found if one.address == held.address), None)


def is_let_in(source: IPAddress, listener: Listener) -> bool:
    """Return whether an access list lets a client in."""
    access = listener.access
    if access is None:
        return True
    is_listed = any(source in one for one in access.ranges if one.version == source.version)
    return is_listed == access.is_allowed


def goes_on(packet: Packet, held: Target, listener: Listener | None) -> bool:
    """Return whether a connection stays at its backend.

    Datagrams are led away from one that is not healthy; TCP stays, unless it is to be cut.
    """
    if packet.opens_connection:
        return False
    if packet.protocol == TCP and not (listener is not None and listener.cuts):
        return True
    server = find_server(listener, held) if listener is not None else None
    return server is not None and (packet.protocol == TCP or server.is_healthy)


def hash_of(packet: Packet) -> int:
    """Return the hash of all four values, and of the protocol."""
    ports = (packet.source_port.to_bytes(2, "big"), packet.destination_port.to_bytes(2, "big"))
    words = [*_words(pack_address(packet.source)), *_words(pack_address(packet.destination))]
    words += [int.from_bytes(one, sys.byteorder) for one in ports]
    return _folded(iter([*words, packet.protocol]))


def _folded(words: Iterator[int]) -> int:
    found = _SEED
    for word in words:
        found = ((found ^ word) * _FACTOR) & _WORD
    return found ^ found >> 16


def _words(data: bytes) -> Iterator[int]:
    return (int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4))
