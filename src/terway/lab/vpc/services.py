"""The link between the fabric and the namespace in which the provider's services listen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface

from terway.lab.vpc.contract import (
    ROUTER_MAC,
    SERVICES_GATEWAY,
    SERVICES_GATEWAY_V6,
    SERVICES_MAC,
    SERVICES_MTU_BYTES,
)
from terway.linux import sysctl
from terway.linux.netlink import address, link, neighbour, route
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netns import entered
from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.errors import BugError
from terway.model.network import LinkAddress, LinkSettings, Neighbour, Route, Sysctl

_OUTSIDE = "services"  # no name of a port begins so: see plan.fabric_name
_INSIDE = "eth0"
_ENABLED = f"net/ipv6/conf/{_INSIDE}/disable_ipv6"
_IPV6 = {
    f"net/ipv6/conf/{_INSIDE}/router_solicitations": "0",
    f"net/ipv6/conf/{_INSIDE}/accept_dad": "0",
    f"net/ipv6/conf/{_INSIDE}/addr_gen_mode": "1",  # none
    _ENABLED: "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesLink:
    """The veth, known by the ifindex of its two ends."""

    name: str
    ifindex: int
    inside: int
    socket: RouteSocket  # of the services' namespace

    def ensure_addresses(self, services: Iterable[IPAddress]) -> None:
        """Give the services' namespace exactly these addresses."""
        wanted = {LinkAddress(link=_INSIDE, address=ip_interface(one)) for one in services}
        there = {
            found
            for family in Family
            for found in self.socket.query(
                address.all_addresses(family, lambda _: _INSIDE, ifindex=self.inside)
            )
        }
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
    with entered(inside_fd):
        _speak_ipv6()
    inside.send([link.change(LinkSettings(name=name)) for name in ("lo", _INSIDE)])
    made = ServicesLink(
        name=_OUTSIDE,
        ifindex=_ifindex(vpc, _OUTSIDE),
        inside=_ifindex(inside, _INSIDE),
        socket=inside,
    )
    _lead_back(made, IPv4Network("0.0.0.0/0"), SERVICES_GATEWAY)
    with entered(inside_fd):
        has_ipv6 = sysctl.read(_ENABLED) == "0"
    if has_ipv6:
        _lead_back(made, IPv6Network("::/0"), SERVICES_GATEWAY_V6)
    return made


def _speak_ipv6() -> None:
    """Let the inner end have IPv6 addresses, and say nothing of its own about it."""
    for setting, value in _IPV6.items():
        if sysctl.read(setting) is not None:
            sysctl.ensure(Sysctl(path=setting, value=value))


def _lead_back(made: ServicesLink, everywhere: IPNetwork, gateway: IPAddress) -> None:
    router = Neighbour(link=_INSIDE, address=gateway, mac=ROUTER_MAC)
    way = Route(destination=everywhere, link=_INSIDE, gateway=gateway, is_onlink=True)
    made.socket.send((neighbour.put(router, made.inside), route.put(way, made.inside)))


def _ifindex(sock: RouteSocket, name: str) -> int:
    found = sock.first(link.by_name(name))
    if found is None:
        raise BugError(f"link {name} is gone as soon as it was made")
    return found.ifindex
