"""What does a load balancer make of a packet: which backend it goes to, and its bytes then.

Checksums are changed word by word as the kernel does (csum_replace4), so that wrong ones stay wrong
alike.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from terway.lab.vpc.contract import DropReason
from terway.lab.vpc.oracle.choice import Choices, Target, find_listener, goes_on
from terway.lab.vpc.oracle.packet import TCP, UDP, MalformedError, Packet, parse_packet
from terway.lab.vpc.state import Balancer
from terway.model.address import Family, IPAddress
from terway.model.ids import VpcId

_ETHERNET = 14
_WORD = 0xFFFFFFFF
_CHECKSUM_AT = {TCP: 16, UDP: 6}

Key = tuple[VpcId, int, IPAddress, int, IPAddress, int]
"""VPC, protocol, source and its port, destination and its port."""


class Connections:
    """The balanced connections of one fabric. Nothing is ever forgotten by time here."""

    def __init__(self) -> None:
        self._targets: dict[Key, Target] = {}
        self._choices = Choices()

    def choose(self, balancer: Balancer, packet: Packet) -> Target | DropReason:
        """Return where a client's packet goes, or why it does not."""
        asked = _key(balancer.vpc_id, packet)
        listener = find_listener(balancer, packet)
        held = self._targets.get(asked)
        if held is not None and goes_on(packet, held, listener):
            return held
        if listener is None:
            return DropReason.NO_LISTENER
        if held is not None and packet.protocol == TCP and not packet.opens_connection:
            return DropReason.CUT
        target = self._choices.choose(balancer, listener, packet)
        if isinstance(target, DropReason):
            return target
        self._targets[asked] = target
        self._targets[_answer_key(balancer.vpc_id, packet, target)] = Target(
            address=packet.destination, port=packet.destination_port, is_answer=True
        )
        return target

    def answer(self, vpc_id: VpcId, packet: Packet) -> Target | None:
        """Return what the source of a backend's packet becomes, None if it is nobody's answer."""
        held = self._targets.get(_key(vpc_id, packet)) if is_balanced(packet) else None
        return held if held is not None and held.is_answer else None

    def quoted(self, vpc_id: VpcId, error: Packet) -> tuple[Packet, Target] | None:
        """Return what an error quotes and what it was sent to, None if it is not balanced."""
        try:
            quoted = parse_packet(error.data[error.transport + 8 :], error.family, is_quoted=True)
        except MalformedError:
            return None
        source = (quoted.destination, quoted.destination_port)
        answered = (vpc_id, quoted.protocol, *source, quoted.source, quoted.source_port)
        held = self._targets.get(answered) if is_balanced(quoted) and not quoted.is_later else None
        return (quoted, held) if held is not None and held.is_answer else None

    def forget(self, vpc_id: VpcId, packet: Packet) -> None:
        """A packet opens a connection to the backend itself: its answers are its own."""
        itself = Target(address=packet.destination, port=packet.destination_port)
        self._targets.pop(_answer_key(vpc_id, packet, itself), None)


def is_balanced(packet: Packet) -> bool:
    """Return whether load balancers forward packets of this protocol."""
    return packet.protocol in (TCP, UDP)


def _key(vpc_id: VpcId, packet: Packet) -> Key:
    source = (packet.source, packet.source_port)
    return (vpc_id, packet.protocol, *source, packet.destination, packet.destination_port)


def _answer_key(vpc_id: VpcId, packet: Packet, target: Target) -> Key:
    client = (packet.source, packet.source_port)
    return (vpc_id, packet.protocol, target.address, target.port, *client)


def translated(frame: bytes, packet: Packet, target: Target) -> bytes:
    """Return the frame with another destination, or of an answer another source."""
    old, port = (
        (packet.source, packet.source_port)
        if target.is_answer
        else (packet.destination, packet.destination_port)
    )
    changed = bytearray(frame)
    if not packet.is_later:
        _replace_transport(changed, packet, (old.packed, target.address.packed), (port, target))
    before = 0 if target.is_answer else len(old.packed)
    at = _ETHERNET + (12 if old.version == 4 else 8) + before
    if old.version == 4:
        _replace(changed, _ETHERNET + 10, old.packed, target.address.packed)
    changed[at : at + len(old.packed)] = target.address.packed
    return bytes(changed)


def translated_error(frame: bytes, error: Packet, quoted: Packet, target: Target) -> bytes:
    """Return an error with the destination of what it quotes put back; its own ends stay."""
    changed = bytearray(frame)
    ip = _ETHERNET + error.transport + 8
    checksum_at = _ETHERNET + error.transport + 2
    old, new = quoted.destination.packed, target.address.packed
    if error.family is Family.V4:
        _replace(changed, ip + 10, old, new)
        at = ip + 16
    else:
        for word in range(0, len(old), 4):
            _replace(changed, checksum_at, old[word : word + 4], new[word : word + 4])
        at = ip + 24
    changed[at : at + len(new)] = new
    port = target.port.to_bytes(2, "big")
    _replace(changed, checksum_at, quoted.destination_port.to_bytes(2, "big"), port)
    at = ip + quoted.transport + 2
    changed[at : at + 2] = port
    return bytes(changed)


def _replace_transport(
    frame: bytearray, packet: Packet, addresses: tuple[bytes, bytes], ports: tuple[int, Target]
) -> None:
    start = _ETHERNET + packet.transport
    at = start + _CHECKSUM_AT[packet.protocol]
    port, target = ports
    new_port = target.port.to_bytes(2, "big")
    is_udp = packet.protocol == UDP
    if not (is_udp and frame[at : at + 2] == b"\0\0"):  # UDP over IPv4 may go without
        for word in range(0, len(addresses[0]), 4):
            _replace(frame, at, *(one[word : word + 4] for one in addresses), is_udp=is_udp)
        _replace(frame, at, port.to_bytes(2, "big"), new_port, is_udp=is_udp)
    start += 0 if target.is_answer else 2
    frame[start : start + 2] = new_port


def _replace(frame: bytearray, at: int, old: bytes, new: bytes, *, is_udp: bool = False) -> None:
    """One step of the kernel's csum_replace4; UDP writes a checksum of zero as all ones."""
    held = int.from_bytes(frame[at : at + 2], sys.byteorder)
    was, now = (int.from_bytes(one, sys.byteorder) for one in (old, new))
    total = _add(_add(held ^ _WORD, was ^ _WORD), now)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = total ^ 0xFFFF
    if is_udp and not checksum:
        checksum = 0xFFFF
    frame[at : at + 2] = checksum.to_bytes(2, sys.byteorder)


def _add(one: int, other: int) -> int:
    total = one + other
    return (total & _WORD) + (total >> 32)


def seen_by_client(packet: Packet, target: Target) -> Packet:
    """Return an answer as the client's groups see it: from the load balancer."""
    return replace(packet, source=target.address, source_port=target.port)
