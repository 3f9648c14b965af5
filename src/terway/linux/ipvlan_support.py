"""Can this kernel have pods as IPvlan children of their ENI? Asked by making one, in a namespace.

Whether there is the module is not told by a kernel's version. Blocking; for workers.
"""

from __future__ import annotations

from terway.linux.netlink import link
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import fresh_netns
from terway.model.errors import VpcError
from terway.model.network import LinkSettings

_PARENT, _OTHER_END, _CHILD = "eni", "vpc", "child"


def ipvlan_lacks() -> str:
    """Return why no ipvlan child can be made here, in the kernel's words; empty where one can."""
    with fresh_netns(), open_route_socket() as sock:
        try:
            sock.request(
                link.create_veth(LinkSettings(name=_PARENT), LinkSettings(name=_OTHER_END))
            )
            parent = sock.index_of(_PARENT)
            assert parent is not None  # it was just made
            sock.request(link.create_ipvlan(LinkSettings(name=_CHILD), parent))
        except VpcError as error:
            return f"the kernel makes no ipvlan link ({error}): load its module ipvlan"
    return ""
