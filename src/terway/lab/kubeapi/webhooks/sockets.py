"""By which sockets does the server reach its webhooks?

The lab's API server is in the namespace of the provider's services while its process is not, so
who opens it says how a socket is made there.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

# Given the address (text) to connect to: a new TCP socket, not connected, not blocking.
WebhookDialer = Callable[[str], Awaitable[socket.socket]]


async def dial_plainly(host: str) -> socket.socket:
    """Return a socket of the process's own network namespace."""
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made
