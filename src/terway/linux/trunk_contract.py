"""The agent's half of bpf/trunk.h: what the maps of a trunk's programs hold, as bytes.

tests/bpf/test_trunk_contract.py compares the two, field by field. Change them together.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv6Address

from terway.linux.layout import Layout
from terway.linux.netlink.link import pack_mac
from terway.model.address import IPAddress
from terway.model.traffic import TrunkMember

POP_PROGRAM = "terway_trunk_pop"
POP_PRIORITY = 120  # before the data path (150)

SOURCE = Layout(name="trunk_source", fields=(("word", "16s"),))
MEMBER = Layout(name="trunk_member", fields=(("vlan_id", "H"), ("mac", "6s")))

MEMBER_DEVICE = 0x1000  # beside the number: the member has a VLAN device

_NUMBER = struct.Struct("=I")
_MAPPED = bytes(10) + b"\xff\xff"


class TrunkLoss(IntEnum):
    """Why a frame of a trunk was lost (`enum trunk_loss`)."""

    NONE = 0
    UNKNOWN_VLAN = 1
    OTHER_MAC = 2
    TAGS = 3
    KERNEL = 4
    SPOOFED = 5

    @property
    def meaning(self) -> str:
        """Return what a person is told."""
        return _MEANINGS[self]


_MEANINGS = {
    TrunkLoss.NONE: "let through",
    TrunkLoss.UNKNOWN_VLAN: "tagged for a member ENI that no pod of this node has",
    TrunkLoss.OTHER_MAC: "tagged for a member ENI, and not for its MAC",
    TrunkLoss.TAGS: "not tagged by 802.1Q, or tagged twice",
    TrunkLoss.SPOOFED: "sent by a VLAN device, not from the MAC and addresses of its member",
    TrunkLoss.KERNEL: "the kernel did not put the tag on, or take it off",
}


def pack_number(number: int) -> bytes:
    """Return the key of a map that counts, or that is by VLAN id."""
    return _NUMBER.pack(number)


def pack_source(address: IPAddress) -> bytes:
    """Return the key of map `sources`."""
    mapped = address.packed if isinstance(address, IPv6Address) else _MAPPED + address.packed
    return SOURCE.pack(word=mapped)


def pack_member(member: TrunkMember) -> bytes:
    """Return the value of all maps of members."""
    device = MEMBER_DEVICE if member.has_device else 0
    return MEMBER.pack(vlan_id=member.vlan_id | device, mac=pack_mac(member.mac))
