"""The agent's half of bpf/sock.h: what the programs for sockets are told, and what they remember.

tests/bpf/test_sock_contract.py compares the two, field by field. Change them together.
"""

from __future__ import annotations

from terway.linux.layout import Layout

CONSTANTS = Layout(
    name="sock_constants",
    fields=(("node_netns", "Q"), ("can_refuse", "I"), ("zero", "I")),
)
SOCKET_KEY = Layout(
    name="socket_key", fields=(("cookie", "Q"), ("peer", "20s"), ("direction", "I"))
)
SOCKET_PEER = Layout(name="socket_peer", fields=(("other", "20s"), ("backend", "I")))

SOCKET_ASKED = 0
SOCKET_REACHED = 1
