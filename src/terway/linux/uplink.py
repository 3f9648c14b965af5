"""Which link and which address the node itself uses: the answer of its default route."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.linux.netlink import link, route
from terway.linux.netlink.socket import open_route_socket
from terway.model.address import Family, IPAddress

# Documentation addresses (RFC 5737, RFC 3849) have no route of their own anywhere.
_SOMEWHERE: dict[Family, IPAddress] = {
    Family.V4: IPv4Address("192.0.2.1"),
    Family.V6: IPv6Address("2001:db8::1"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """The node's way out in one family."""

    link: str
    address: IPAddress
    gateway: IPAddress | None


def read_uplink(family: Family) -> Uplink | None:
    """Return the way out of the calling thread's namespace, None without a default route."""
    names: dict[int, str] = {}
    with open_route_socket() as sock:
        names.update((one.ifindex, one.name) for one in sock.query(link.all_links()))
        found = sock.first(route.lookup(_SOMEWHERE[family], lambda index: names[index]))
    if found is None or found.source is None:
        return None
    return Uplink(link=found.link, address=found.source, gateway=found.gateway)
