"""The agent's half of bpf/guard.h: what the guard's maps hold, as bytes and as values.

tests/bpf/test_guard_contract.py compares the two, field by field. Change them together.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from terway.linux.layout import Layout
from terway.linux.netlink.link import pack_mac
from terway.model.address import IPPair
from terway.model.ids import MacAddress
from terway.model.traffic import Guard

OWNER = Layout(
    name="guard_owner",
    fields=(("v6", "16s"), ("link_local", "16s"), ("v4", "4s"), ("mac", "6s"), ("zero", "2s")),
)
DROPS_KEY = Layout(name="guard_drops_key", fields=(("ifindex", "I"), ("reason", "I")))
DROPS_VALUE = Layout(name="guard_drops_value", fields=(("packets", "Q"), ("told_ns", "Q")))


class GuardReason(IntEnum):
    """Why a pod's packet was not let through (`enum guard_reason`)."""

    NONE = 0
    UNKNOWN_LINK = 1
    MALFORMED = 2
    VLAN = 3
    ETHERTYPE = 4
    SOURCE_MAC = 5
    SOURCE_ADDRESS = 6
    LINK_LOCAL = 7
    ARP = 8
    ND = 9

    @property
    def meaning(self) -> str:
        """Return what a person is told."""
        return _MEANINGS[self]


_MEANINGS = {
    GuardReason.NONE: "let through",
    GuardReason.UNKNOWN_LINK: "nobody told the guard whom the link belongs to",
    GuardReason.MALFORMED: "headers are cut off or contradict each other",
    GuardReason.VLAN: "a VLAN tag on a pod's link",
    GuardReason.ETHERTYPE: "neither IPv4, IPv6 nor ARP",
    GuardReason.SOURCE_MAC: "the source MAC is not that of the pod's link",
    GuardReason.SOURCE_ADDRESS: "the source address is not the pod's",
    GuardReason.LINK_LOCAL: "a link-local address that is not the pod's, or leaves the link",
    GuardReason.ARP: "ARP that claims another address or MAC than the pod's",
    GuardReason.ND: "neighbour discovery that claims another's address or to be a router",
}


def pack_owner(guard: Guard) -> bytes:
    """Return the value of map `owners` for `guard`."""
    v4, v6 = guard.addresses.v4, guard.addresses.v6
    return OWNER.pack(
        v6=b"" if v6 is None else v6.packed,
        link_local=guard.link_local.packed,
        v4=b"" if v4 is None else v4.packed,
        mac=pack_mac(guard.mac),
    )


def unpack_owner(link: str, value: bytes) -> Guard:
    """Return the guard of `link` that `value` describes."""
    found = {name: part for name, part in OWNER.unpack(value).items() if isinstance(part, bytes)}
    return Guard(
        link=link,
        mac=MacAddress(found["mac"].hex(":")),
        addresses=IPPair(
            v4=IPv4Address(found["v4"]) if any(found["v4"]) else None,
            v6=IPv6Address(found["v6"]) if any(found["v6"]) else None,
        ),
        link_local=IPv6Address(found["link_local"]),
    )
