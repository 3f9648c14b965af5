"""The link between the fabric and the namespace in which the provider's services listen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from terway.lab.vpc.contract import (
    ROUTER_MAC,
    SERVICES_GATEWAY,
    SERVICES_MAC,
    SERVICES_MTU_BYTES,
)
from terway.linux.netlink import address, link, neighbour, route
from terway.linux.netlink.socket import RouteSocket
from terway.model.address import Family
from terway.model.errors import BugError
from terway.model.network import LinkAddress, LinkSettings, Neighbour, Route

_OUTSIDE = "services"  # no name of a port begins so: see plan.fabric_name
_INSIDE = "eth0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesLink:
    """The veth, known by the ifindex of its two ends."""

    name: str
    ifindex: int
    inside: int
    socket: RouteSocket  # of the services' namespace

    def ensure_addresses(self, services: Iterable[IPv4Address]) -> None:
        """Give the services' namespace exactly these addresses."""
        wanted = {LinkAddress(link=_INSIDE, address=IPv4Interface(one)) for one in services}
        query = address.all_addresses(Family.V4, lambda _: _INSIDE, ifindex=self.inside)
        there = set(self.socket.query(query))
        for new in sorted(wanted - there, key=str):
            self.socket.request(address.put(new, self.inside))
        for old in sorted(there - wanted, key=str):
            self.socket.request(address.remove(old, self.inside))


def create_services_link(vpc: RouteSocket, inside: RouteSocket, inside_fd: int) -> ServicesLink:
    """Create the veth, both ends up, and the route back to wherever a packet came from."""
    vpc.request(
        link.create_veth(
            LinkSettings(name=_OUTSIDE, mac=ROUTER_MAC),
            LinkSettings(name=_INSIDE, mac=SERVICES_MAC, mtu_bytes=SERVICES_MTU_BYTES),
            peer_netns_fd=inside_fd,
        )
    )
    inside.send([link.change(LinkSettings(name=name)) for name in ("lo", _INSIDE)])
    made = ServicesLink(
        name=_OUTSIDE,
        ifindex=_ifindex(vpc, _OUTSIDE),
        inside=_ifindex(inside, _INSIDE),
        socket=inside,
    )
    router = Neighbour(link=_INSIDE, address=SERVICES_GATEWAY, mac=ROUTER_MAC)
    way_back = Route(
        destination=IPv4Network("0.0.0.0/0"),
        link=_INSIDE,
        gateway=SERVICES_GATEWAY,
        is_onlink=True,
    )
    inside.send((neighbour.put(router, made.inside), route.put(way_back, made.inside)))
    return made


def _ifindex(sock: RouteSocket, name: str) -> int:
    found = sock.first(link.by_name(name))
    if found is None:
        raise BugError(f"link {name} is gone as soon as it was made")
    return found.ifindex
