"""The agent's half of bpf/contract.h: what the data path's maps hold, as bytes.

tests/bpf/test_datapath_contract.py compares the two, field by field, against the BTF of the built
object. Change them together. An address is 16 bytes, an IPv4 one the first four of them, and the
family (4, 6) is beside it; ports are two bytes in network byte order.
"""

from __future__ import annotations

from enum import IntEnum

from terway.linux.layout import Layout

LAYOUT = 1

# ---- who is here

ENDPOINT = Layout(
    name="endpoint",
    fields=(
        ("v6", "16s"),
        ("gateway6", "16s"),
        ("v4", "4s"),
        ("gateway4", "4s"),
        ("link", "I"),
        ("eni", "I"),
        ("leg", "I"),
        ("flags", "I"),
        ("pod_mac", "6s"),
        ("link_mac", "6s"),
        ("kind", "H"),
        ("mtu", "H"),
    ),
)
ADDRESS_OF = Layout(name="address_of", fields=(("address", "16s"), ("family", "I")))
PREFIX_OF = Layout(
    name="prefix_of", fields=(("prefixlen", "I"), ("family", "I"), ("address", "16s"))
)
SETTINGS = Layout(
    name="settings",
    fields=(
        ("node6", "16s"),
        ("node4", "4s"),
        ("flags", "I"),
        ("uplink", "I"),
        ("gateway4", "4s"),
        ("gateway6", "16s"),
        ("uplink_mac", "6s"),
        ("uplink_mtu", "H"),
    ),
)

LOCAL_NODE = 0xFFFFFFFF
ENDPOINT_NO_METADATA = 0x1
ENDPOINT_QUEUED = 0x2
PREFIX_BEFORE = 32  # bits of PREFIX_OF that count beside those of the address
SETTING_SERVICES = 0x1
SETTING_POLICY = 0x2
SETTING_NODE_IN = 0x4
SETTING_NODE_OUT = 0x8
SETTING_REJECT = 0x10
STAMP = 0x7E2A57A9

# ---- connections

PIECE_KEY = Layout(
    name="piece_key",
    fields=(
        ("source", "16s"),
        ("destination", "16s"),
        ("id", "4s"),
        ("protocol", "B"),
        ("family", "B"),
        ("hook", "H"),
    ),
)
PIECE = Layout(name="piece", fields=(("source_port", "2s"), ("destination_port", "2s")))
FLOW_TUPLE = Layout(
    name="flow_tuple",
    fields=(
        ("source", "16s"),
        ("destination", "16s"),
        ("source_port", "2s"),
        ("destination_port", "2s"),
        ("protocol", "B"),
        ("family", "B"),
        ("zero", "H"),
    ),
)
FLOW_STATE = Layout(
    name="flow_state",
    fields=(
        ("seen_ns", "Q"),
        ("frontend", "16s"),
        ("client", "16s"),
        ("frontend_port", "2s"),
        ("client_port", "2s"),
        ("flags", "I"),
        ("backend", "I"),
        ("approved", "I"),
        ("opener", "I"),
        ("other", "I"),
    ),
)
CHOICE = Layout(
    name="choice",
    fields=(("seen_ns", "Q"), ("backend", "I"), ("source_port", "2s"), ("zero", "H")),
)

FLOW_OPENER_FIN = 0x1
FLOW_OTHER_FIN = 0x2
FLOW_RST = 0x4
FLOW_ANSWERED = 0x8
FLOW_AT_CLIENT = 0x10
FLOW_AT_NODE = 0x20
FLOW_SOURCE = 0x40
FLOW_BY_UPLINK = 0x80
FLOW_HAIRPIN = 0x100
FLOW_SECOND = 0x200

# ---- policy

POLICY_TURN = Layout(name="policy_turn", fields=(("since", "I"), ("before", "I"), ("after", "I")))
SIDES = Layout(
    name="sides", fields=(("ingress", "I"), ("egress", "I"), ("own_node", "I"), ("itself", "I"))
)
POLICY_SIDES = Layout(
    name="policy_sides", fields=(("since", "I"), ("before", "16s"), ("after", "16s"))
)
POLICY_NET = Layout(
    name="policy_net",
    fields=(("prefixlen", "I"), ("nets", "I"), ("family", "I"), ("address", "16s")),
)
POLICY_PAIR = Layout(name="policy_pair", fields=(("rule_set", "I"), ("class_id", "I")))
POLICY_PAGE_OF = Layout(
    name="policy_page_of", fields=(("ports", "I"), ("protocol", "B"), ("upper", "B"), ("zero", "H"))
)
POLICY_PAGE = Layout(name="policy_page", fields=(("bits", "32s"),))

POLICY_NET_BEFORE = 64  # bits of POLICY_NET that count beside those of the address
CLASS_NOBODY = 0
CLASS_NONE = 0xFFFFFFFF
PORTS_TCP = 0x80000000
PORTS_UDP = 0x40000000
PORTS_SCTP = 0x20000000
PORTS_OTHER = 0x10000000
PORTS_SET = 0x0FFFFFFF

# ---- services

FRONTEND_KEY = Layout(
    name="frontend_key",
    fields=(("address", "16s"), ("port", "2s"), ("protocol", "B"), ("family", "B")),
)
FRONTEND = Layout(
    name="frontend",
    fields=(
        ("service", "I"),
        ("inside", "I"),
        ("outside", "I"),
        ("affinity_s", "I"),
        ("flags", "I"),
    ),
)
SET_INLINE = 16
BACKEND_SET = Layout(
    name="backend_set",
    fields=(("count", "I"), ("table", "I"), ("size", "I"), ("backend", f"{4 * SET_INLINE}s")),
)
BACKEND = Layout(
    name="backend",
    fields=(
        ("address", "16s"),
        ("port", "2s"),
        ("protocol", "B"),
        ("family", "B"),
        ("flags", "I"),
    ),
)
AFFINITY_KEY = Layout(
    name="affinity_key", fields=(("client", "16s"), ("family", "I"), ("service", "I"))
)
AFFINITY = Layout(name="affinity", fields=(("seen_ns", "Q"), ("backend", "I"), ("zero", "I")))
SOURCE_RANGE = Layout(
    name="source_range",
    fields=(("prefixlen", "I"), ("service", "I"), ("family", "I"), ("address", "16s")),
)

SOURCE_RANGE_BEFORE = 64  # bits of SOURCE_RANGE that count beside those of the address
FRONTEND_AFFINITY = 0x1
FRONTEND_SOURCE_RANGES = 0x2
FRONTEND_EXTERNAL = 0x4
FRONTEND_LOCAL_OUTSIDE = 0x8
FRONTEND_NODE_PORT = 0x10
FRONTEND_HOST_PORT = 0x20
BACKEND_TERMINATING = 0x1
BACKEND_LINE_SHIFT = 8

# ---- what is seen

LOSS_KEY = Layout(name="loss_key", fields=(("endpoint", "I"), ("reason", "I")))
LOSS_COUNT = Layout(name="loss_count", fields=(("packets", "Q"), ("bytes", "Q")))
WATCHING = Layout(
    name="watching",
    fields=(
        ("flags", "I"),
        ("one_in", "I"),
        ("per_second", "I"),
        ("endpoint", "I"),
        ("v6", "16s"),
        ("v4", "4s"),
    ),
)
EVENT = Layout(
    name="event",
    fields=(
        ("at_ns", "Q"),
        ("flow", "40s"),
        ("frontend", "16s"),
        ("frontend_port", "2s"),
        ("happening", "B"),
        ("reason", "B"),
        ("endpoint", "I"),
        ("ifindex", "I"),
        ("bytes", "I"),
    ),
)
TELLING = Layout(name="telling", fields=(("second", "Q"), ("told", "Q")))

WATCH_LOSSES = 0x1
WATCH_FLOWS = 0x2


class Happening(IntEnum):
    """What a message of the ring tells (`enum happening`)."""

    LOSS = 1
    OPEN = 2
    CLOSE = 3
