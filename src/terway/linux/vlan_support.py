"""Can this kernel have VLAN devices (8021q)? Asked by making one, in a namespace of its own.

Whether there is the module is not told by a kernel's version. Blocking; for workers.
"""

from __future__ import annotations

from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import fresh_netns
from terway.model.errors import VpcError
from terway.model.network import LinkSettings

_PARENT, _OTHER_END, _DEVICE = "trunk", "vpc", "device"


def vlan_lacks() -> str:
    """Return why no VLAN device can be made here, in the kernel's words; empty where one can."""
    with fresh_netns(), open_route_socket() as sock:
        try:
            ends = LinkSettings(name=_PARENT), LinkSettings(name=_OTHER_END)
            sock.request(link.create_veth(*ends))
            parent = sock.index_of(_PARENT)
            assert parent is not None  # it was just made
            sock.request(link.create_vlan(LinkSettings(name=_DEVICE), parent, 1, netns_fd=None))
        except VpcError as error:
            return f"the kernel makes no VLAN device ({error})"
    return ""
