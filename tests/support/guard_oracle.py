"""What the guard is to say to a frame of a pod: bpf/guard.bpf.c once more, in Python."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from terway.linux.guard_contract import GuardReason
from terway.model.traffic import Guard

_EXTENSIONS = (0, 43, 44, 51, 60)
_ND = range(133, 138)
_MLD = (131, 132, 143)
_ANY = IPv6Address("::")


class _TruncatedError(Exception):
    """The frame ends before what its headers promise."""


def judge(guard: Guard, frame: bytes) -> GuardReason:
    """Return why `frame` is dropped, or NONE."""
    if frame[6:12] != bytes.fromhex(guard.mac.replace(":", "")):
        return GuardReason.SOURCE_MAC
    check = {0x0800: _ipv4, 0x86DD: _ipv6, 0x0806: _arp}.get(int.from_bytes(frame[12:14], "big"))
    if check is None:
        is_tag = frame[12:14] in (b"\x81\x00", b"\x88\xa8")
        return GuardReason.VLAN if is_tag else GuardReason.ETHERTYPE
    try:
        return check(guard, frame[14:])
    except _TruncatedError:
        return GuardReason.MALFORMED


def _take(data: bytes, start: int, count: int) -> bytes:
    if start + count > len(data):
        raise _TruncatedError
    return data[start : start + count]


def _arp(guard: Guard, body: bytes) -> GuardReason:
    if _take(body, 0, 28)[:6] != b"\x00\x01\x08\x00\x06\x04":
        return GuardReason.MALFORMED
    sender, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
    speaks_for = target if int(sender) == 0 else sender
    is_own = body[8:14].hex(":") == guard.mac and speaks_for == guard.addresses.v4
    return GuardReason.NONE if is_own else GuardReason.ARP


def _ipv4(guard: Guard, packet: bytes) -> GuardReason:
    _take(packet, 0, 20)
    header = (packet[0] & 0xF) * 4
    if packet[0] >> 4 != 4 or header < 20 or int.from_bytes(packet[2:4], "big") < header:
        return GuardReason.MALFORMED
    is_own = IPv4Address(packet[12:16]) == guard.addresses.v4
    return GuardReason.NONE if is_own else GuardReason.SOURCE_ADDRESS


def _ipv6(guard: Guard, packet: bytes) -> GuardReason:
    head = _take(packet, 0, 40)
    source, destination = IPv6Address(head[8:24]), IPv6Address(head[24:40])
    own = guard.addresses.v6
    if head[0] >> 4 == 6 and head[6] in (6, 17) and own is not None and source == own:
        return GuardReason.NONE
    end = 40 + int.from_bytes(head[4:6], "big")
    if head[0] >> 4 != 6 or end > len(packet):
        return GuardReason.MALFORMED
    protocol, at, is_fragment, is_later = _walk(packet[:end], head[6])
    if not is_later:
        _require_transport(packet[:end], protocol, at)
    is_icmp = protocol == 58 and not is_later
    kind = packet[at] if is_icmp else -1
    if source == _ANY:
        allowed = (*_MLD, 133, 135)
        may = is_icmp and not is_fragment and kind in allowed and _stays(destination)
        if not may:
            return GuardReason.SOURCE_ADDRESS
    elif source != own:
        if not source.is_link_local:
            return GuardReason.SOURCE_ADDRESS
        if source != guard.link_local or not _stays(destination):
            return GuardReason.LINK_LOCAL
    if kind not in _ND:
        return GuardReason.NONE
    return _discovery(guard, packet[:end], at, source, is_fragment=is_fragment)


def _stays(destination: IPv6Address) -> bool:
    return destination.is_link_local or (
        destination.packed[0] == 0xFF and (destination.packed[1] & 0x0F) == 2
    )


def _walk(packet: bytes, protocol: int) -> tuple[int, int, bool, bool]:
    at, is_fragment, is_later = 40, False, False
    for _ in range(6):
        if protocol not in _EXTENSIONS or is_later:
            break
        header = _take(packet, at, 8)
        if protocol == 44:
            is_fragment = True
            is_later = bool(int.from_bytes(header[2:4], "big") & 0xFFF8)
            size = 8
        else:
            size = (header[1] + 2) * 4 if protocol == 51 else (header[1] + 1) * 8
        at, protocol = at + size, header[0]
    if (protocol in _EXTENSIONS and not is_later) or at > len(packet):
        raise _TruncatedError
    return protocol, at, is_fragment, is_later


def _require_transport(packet: bytes, protocol: int, at: int) -> None:
    _take(packet, at, {58: 8, 6: 20, 17: 8}.get(protocol, 0))


def _discovery(
    guard: Guard, packet: bytes, at: int, source: IPv6Address, *, is_fragment: bool
) -> GuardReason:
    kind = packet[at]
    if kind in (134, 137) or is_fragment:
        return GuardReason.ND
    if kind == 133:
        return _options(guard, packet, at + 8)
    target = IPv6Address(_take(packet, at + 8, 16))
    is_own = target != _ANY and target in (guard.addresses.v6, guard.link_local)
    if not is_own and (kind == 136 or source == _ANY):
        return GuardReason.LINK_LOCAL if target.is_link_local else GuardReason.ND
    return _options(guard, packet, at + 24)


def _options(guard: Guard, packet: bytes, at: int) -> GuardReason:
    if at > len(packet):
        return GuardReason.MALFORMED
    for _ in range(8):
        if at == len(packet):
            return GuardReason.NONE
        option = _take(packet, at, 8)
        if option[1] == 0:
            return GuardReason.MALFORMED
        if option[0] in (1, 2) and (option[1] != 1 or option[2:8].hex(":") != guard.mac):
            return GuardReason.ND
        at += option[1] * 8
    return GuardReason.NONE if at == len(packet) else GuardReason.MALFORMED
