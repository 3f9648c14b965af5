"""A packet as rules of nftables see it."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from enum import Enum

from terway.model.address import Family, IPAddress, family_of
from terway.model.nft import Hook
from terway.model.nft_rule import CtKey, MetaKey
from terway.policy.nft.sides import interface_key
from terway.policy.nft.words import ICMPV6, NFPROTO, PROTOCOL_NUMBERS

FIN, SYN, RST, ACK = 1, 2, 4, 16
ICMP = 1

_PORTS_AND_FLAGS = struct.Struct(">HH9xB6x")  # as in TCP; UDP and SCTP have the ports there, too
_WITH_PORTS = frozenset(PROTOCOL_NUMBERS.values())
_BEFORE_ADDRESSES = {Family.V4: bytes(12), Family.V6: bytes(8)}


class CtState(Enum):
    """What connection tracking says; the values are the bits of `ct state`."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64


_ANSWERED = {Hook.INPUT: Hook.OUTPUT, Hook.OUTPUT: Hook.INPUT, Hook.FORWARD: Hook.FORWARD}
# These have no connection, and so no direction.
_WITHOUT = frozenset({CtState.INVALID, CtState.UNTRACKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet at one hook; `tcp_flags` for TCP, `icmp_type` for ICMP of either family."""

    hook: Hook
    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int = 40000
    destination_port: int = 0
    iif: str = ""
    oif: str = ""
    state: CtState = CtState.NEW
    is_reply: bool = False
    tcp_flags: int = SYN
    icmp_type: int = 8

    def answer(self) -> Packet:
        """Return the packet that answers it, at the hook where that passes."""
        return Packet(
            hook=_ANSWERED[self.hook],
            source=self.destination,
            destination=self.source,
            protocol=self.protocol,
            source_port=self.destination_port,
            destination_port=self.source_port,
            iif=self.oif,
            oif=self.iif,
            state=CtState.ESTABLISHED,
            is_reply=True,
            tcp_flags=SYN | ACK,
            icmp_type=0,
        )

    def network(self) -> bytes:
        """Return the IP header, as far as addresses go."""
        before = _BEFORE_ADDRESSES[family_of(self.source)]
        return before + self.source.packed + self.destination.packed

    def transport(self) -> bytes:
        """Return the header behind it, as far as ports, flags or type go."""
        if self.protocol in _WITH_PORTS:
            return _PORTS_AND_FLAGS.pack(self.source_port, self.destination_port, self.tcp_flags)
        return bytes((self.icmp_type,)).ljust(8, b"\0")

    def meta(self) -> dict[MetaKey, bytes]:
        """Return what `meta` loads."""
        return {
            MetaKey.IIFNAME: interface_key(self.iif),
            MetaKey.OIFNAME: interface_key(self.oif),
            MetaKey.NFPROTO: NFPROTO[family_of(self.source)],
            MetaKey.L4PROTO: bytes((self.protocol,)),
        }

    def tracking(self) -> dict[CtKey, bytes]:
        """Return what `ct` loads; what is missing matches nothing."""
        found = {CtKey.STATE: self.state.value.to_bytes(4, sys.byteorder)}
        if self.state not in _WITHOUT:
            found[CtKey.DIRECTION] = bytes((self.is_reply,))
        return found


def icmp_of(family: Family) -> int:
    """Return the number of a family's ICMP."""
    return ICMP if family is Family.V4 else ICMPV6
