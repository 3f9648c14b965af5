"""The lab's half of bpf/fabric.h: structs, numbers and reasons that the fabric's program shares.

tests/bpf/test_contract.py compares this, field by field, with the BTF of the built object.
Change the two together.
"""

from __future__ import annotations

import sys
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

from terway.linux.layout import Layout
from terway.model.address import Family, IPAddress
from terway.model.ids import MacAddress

ROUTER_MAC = MacAddress("ee:ff:ff:ff:ff:ff")
SERVICES_MAC = MacAddress("ee:00:00:00:00:01")
SERVICES_MTU_BYTES = 1500
SERVICES_GATEWAY = IPv4Address("169.254.0.1")  # the router, as the services see it
SERVICES_GATEWAY_V6 = IPv6Address("fe80::1")
MAX_RULES = 1024
GROUP_BITS = 256
GROUP_ANYBODY = 0
PORTS_MAX = 4096
LISTENER_BACKENDS = 64
LISTENER_SLOTS = 256
PORT_LINK_BITS = 20  # of a port's number: the ifindex of its link; above it, a member's VLAN id
PREFIX_OF = 0x100  # with the family in a key of `addresses`: all addresses of a prefix
PREFIX_BITS = {Family.V4: 28, Family.V6: 80}


class DropReason(IntEnum):
    """Why a packet went no further; enum drop_reason, where each is explained."""

    NONE = 0
    UNKNOWN_PORT = 1
    MALFORMED = 2
    VLAN = 3
    ETHERTYPE = 4
    DESTINATION_MAC = 5
    MULTICAST = 6
    SOURCE_MAC = 7
    SOURCE_ADDRESS = 8
    UNANSWERED = 9
    NO_ROUTE = 10
    NO_ADDRESS = 11
    GATEWAY = 12
    HAIRPIN = 13
    EGRESS = 14
    INGRESS = 15
    TOO_BIG = 16
    FRAGMENT = 17
    FLOW_TABLE = 18
    KERNEL = 19
    FAULT = 20
    NO_LISTENER = 21
    NO_BACKEND = 22
    ACCESS = 23
    CUT = 24


class OwnerKind(IntEnum):
    """What an exact address belongs to; enum owner_kind."""

    PORT = 1
    GATEWAY = 2
    SERVICES = 3
    BALANCER = 4
    PROBER = 5


class PortFlag(IntFlag):
    """The PORT_ flags."""

    SOURCE_CHECK = 1
    BACKEND = 2


class ListenerFlag(IntFlag):
    """The LISTENER_ flags."""

    BY_TURNS = 1
    BY_SOURCE = 2
    CUTS = 4
    ALLOWS = 8
    REFUSES = 16
    PROXIED = 32


class BackendFlag(IntFlag):
    """The BACKEND_ flags."""

    HEALTHY = 1
    OPEN = 2


SUBNET = Layout(name="subnet", fields=(("network", "16s"), ("mask", "16s"), ("gateway", "16s")))
PORT = Layout(
    name="port",
    fields=(
        ("ingress_rules", "Q"),
        ("egress_rules", "Q"),
        ("groups", "32s"),
        ("vswitch", "96s"),
        ("vpc", "I"),
        ("mtu", "I"),
        ("epoch", "I"),
        ("flags", "H"),
        ("mac", "6s"),
        ("loss", "I"),
    ),
)
ADDRESS_KEY = Layout(name="address_key", fields=(("vpc", "I"), ("family", "I"), ("address", "16s")))
OWNER = Layout(name="owner", fields=(("kind", "I"), ("port", "I")))
ROUTE_KEY = Layout(
    name="route_key",
    fields=(("prefixlen", "I"), ("vpc", "I"), ("family", "I"), ("destination", "16s")),
)
ROUTE = Layout(name="route", fields=(("port", "I"),))
RULE = Layout(
    name="rule",
    fields=(
        ("network", "16s"),
        ("mask", "16s"),
        ("selector", "H"),
        ("selector_mask", "H"),
        ("first_port", "H"),
        ("port_span", "H"),
        ("group", "H"),
        ("accept", "H"),
    ),
)
RULE_LIST = Layout(
    name="rule_list",
    fields=(("count", "I"), ("default_accept", "I"), ("rules", f"{MAX_RULES * RULE.size}s")),
)
FLOW_KEY = Layout(
    name="flow_key",
    fields=(
        ("port", "I"),
        ("family", "H"),
        ("protocol", "H"),
        ("local", "16s"),
        ("remote", "16s"),
        ("local_port", "2s"),
        ("remote_port", "2s"),
    ),
)
FLOW = Layout(
    name="flow",
    fields=(("last_seen", "Q"), ("peer", "I"), ("epoch", "I"), ("flags", "I"), ("zero", "I")),
)
FRAGMENT_KEY = Layout(
    name="fragment_key",
    fields=(
        ("port", "I"),
        ("family", "I"),
        ("source", "16s"),
        ("destination", "16s"),
        ("id", "4s"),
        ("protocol", "I"),
    ),
)
LISTENER_KEY = Layout(
    name="listener_key",
    fields=(
        ("vpc", "I"),
        ("family", "H"),
        ("protocol", "H"),
        ("address", "16s"),
        ("port", "2s"),
        ("zero", "H"),
    ),
)
BACKEND = Layout(name="listed_backend", fields=(("address", "16s"), ("port", "2s"), ("flags", "H")))
LISTENER = Layout(
    name="listener",
    fields=(
        ("count", "I"),
        ("slots_used", "I"),
        ("flags", "I"),
        ("persistence_s", "I"),
        ("access", "I"),
        ("slots", f"{LISTENER_SLOTS}s"),
        ("backends", f"{BACKEND.size * LISTENER_BACKENDS}s"),
    ),
)
ACCESS_KEY = Layout(
    name="access_key", fields=(("prefixlen", "I"), ("list", "I"), ("source", "16s"))
)
CONNECTION_KEY = Layout(
    name="connection_key",
    fields=(
        ("vpc", "I"),
        ("family", "H"),
        ("protocol", "H"),
        ("source", "16s"),
        ("destination", "16s"),
        ("source_port", "2s"),
        ("destination_port", "2s"),
    ),
)
CONNECTION = Layout(
    name="connection",
    fields=(
        ("last_seen", "Q"),
        ("address", "16s"),
        ("port", "2s"),
        ("is_answer", "H"),
        ("zero", "I"),
    ),
)
COUNTERS = Layout(
    name="counters",
    fields=(
        ("egress_packets", "Q"),
        ("egress_bytes", "Q"),
        ("ingress_packets", "Q"),
        ("ingress_bytes", "Q"),
        ("answered", "Q"),
        ("drops", f"{8 * len(DropReason)}s"),
    ),
)

# Bits of an access_key after `prefixlen` and before the source.
ACCESS_PREFIX_BITS = 32
# Bits of a route_key after `prefixlen` and before the destination.
ROUTE_PREFIX_BITS = 64


def port_number(ifindex: int, vlan_id: int = 0) -> int:
    """Return the number of a port; `vlan_id` is a member's, whose trunk has the link."""
    assert ifindex < 1 << PORT_LINK_BITS
    return vlan_id << PORT_LINK_BITS | ifindex


def pack_u32(value: int) -> bytes:
    """Return a __u32."""
    return value.to_bytes(4, sys.byteorder)


def pack_u64(value: int) -> bytes:
    """Return a __u64."""
    return value.to_bytes(8, sys.byteorder)


def pack_address(address: IPAddress) -> bytes:
    """Return a struct address: an IPv4 address fills the first word, the rest is zero."""
    return address.packed.ljust(16, b"\0")


def pack_port(number: int) -> bytes:
    """Return a __be16."""
    return number.to_bytes(2, "big")


def pack_mac(mac: MacAddress) -> bytes:
    """Return the six bytes of a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


def pack_groups(bits: int) -> bytes:
    """Return the __u64 groups[]: bit n of the number is bit n % 64 of word n / 64."""
    words = ((bits >> shift) & (2**64 - 1) for shift in range(0, GROUP_BITS, 64))
    return b"".join(pack_u64(word) for word in words)


def family_number(family: Family) -> int:
    """Return enum family."""
    return family.value
