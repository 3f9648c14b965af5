"""What the node itself needs before a pod's packet can be forwarded: settings and ENIs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network

from terway.datapath.ebpf import eni_programs
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.names import host_child_name, table_of
from terway.datapath.priority import bands_of
from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.network import LinkAddress, LinkSettings, NetObject, Route, Scope, Sysctl

EVERYWHERE: dict[Family, IPNetwork] = {
    Family.V4: ip_network("0.0.0.0/0"),
    Family.V6: ip_network("::/0"),
}

# Of a pod's gateway on the node: with scope link the node would choose 169.254.1.1 as its own
# address for what it sends to the pod.
GATEWAY_SCOPE = {Family.V4: Scope.HOST, Family.V6: Scope.LINK}


def host_route_scope(family: Family) -> Scope:
    """Return the scope of a route without a gateway: LINK, where the family has scopes."""
    return Scope.LINK if family is Family.V4 else Scope.GLOBAL


def desired_host(node: NodeFacts) -> tuple[NetObject, ...]:
    """Return the node-wide settings.

    Reverse path filtering is off because a pod's packets come by one ENI and may be answered by
    another; the kernel uses the greater of ``all`` and the link's own value. A node that learnt
    its IPv6 default route from router advertisements keeps listening (accept_ra 2) once it
    forwards; with 1 the kernel would drop the route.
    """
    settings: list[NetObject] = []
    if Family.V4 in node.families:
        settings.append(Sysctl(path="net/ipv4/ip_forward", value="1"))
        settings += (
            Sysctl(path=f"net/ipv4/conf/{where}/rp_filter", value="0")
            for where in ("all", "default", node.uplink)
        )
    if Family.V6 in node.families:
        settings.append(Sysctl(path=f"net/ipv6/conf/{node.uplink}/accept_ra", value="2"))
        for where in ("all", "default"):
            settings.append(Sysctl(path=f"net/ipv6/conf/{where}/disable_ipv6", value="0"))
            settings.append(Sysctl(path=f"net/ipv6/conf/{where}/forwarding", value="1"))
    return tuple(settings)


def desired_eni(eni: ENILink, node: NodeFacts) -> tuple[NetObject, ...]:
    """Return the desired state of a secondary ENI that carries pods.

    It has the node's own address, so that what the node itself sends there has a source, and a
    table of its own with a default route to the vSwitch's gateway.
    """
    return (
        *link_sysctls(eni.name, node.families),
        *_no_duplicate_detection(eni.name, node.families),
        LinkSettings(name=eni.name, mtu_bytes=node.mtu_bytes),
        *bands_of(eni, node),
        *eni_programs(eni, node),
        *(one for family in node.families for one in _eni_of(family, eni, node)),
        *(desired_host_child(eni, node) if node.has_children else ()),
    )


def desired_host_child(eni: ENILink, node: NodeFacts) -> tuple[NetObject, ...]:
    """Return the desired state of the node's own ipvlan child of an ENI.

    A child does not hear its parent. So the node has a child, too, by which its routes to pods
    lead. It has no address: the ENI would hand it the answers to what the node itself asks there,
    ARP for the gateway first of all.
    """
    name = host_child_name(eni.ifindex)
    return (
        *link_sysctls(name, node.families),
        *_no_duplicate_detection(name, node.families),
        LinkSettings(name=name, mtu_bytes=node.mtu_bytes, has_arp=False),
    )


def _no_duplicate_detection(link: str, families: tuple[Family, ...]) -> Iterator[Sysctl]:
    # The node asks for the gateway from the ENI's link-local address. Detection would keep that
    # unusable for one or two seconds after a hot-plug, and the first pod's packets with it; the
    # VPC makes MACs, and so these addresses, unique.
    if Family.V6 in families:
        yield Sysctl(path=f"net/ipv6/conf/{link}/accept_dad", value="0")


def _eni_of(family: Family, eni: ENILink, node: NodeFacts) -> Iterator[NetObject]:
    own, gateway = node.addresses.of(family), eni.gateways.of(family)
    if own is not None:
        yield LinkAddress(link=eni.name, address=ip_interface(own))
    if gateway is None:
        return
    if family is Family.V6:
        # With more than one link, the kernel accepts an on-link gateway only where no other
        # link leads to it (ip6_route_check_nh_onlink): say which one does.
        yield _direct(gateway, eni)
    yield Route(
        destination=EVERYWHERE[family],
        link=eni.name,
        table=table_of(eni.ifindex),
        gateway=gateway,
        is_onlink=True,
    )


def _direct(gateway: IPAddress, eni: ENILink) -> Route:
    return Route(destination=ip_network(gateway), link=eni.name)


def link_sysctls(link: str, families: tuple[Family, ...]) -> Iterator[Sysctl]:
    """Yield the settings of a link of the node that pods' packets cross."""
    if Family.V4 in families:
        yield Sysctl(path=f"net/ipv4/conf/{link}/forwarding", value="1")
        yield Sysctl(path=f"net/ipv4/conf/{link}/rp_filter", value="0")
    if Family.V6 in families:
        yield Sysctl(path=f"net/ipv6/conf/{link}/disable_ipv6", value="0")
        yield Sysctl(path=f"net/ipv6/conf/{link}/accept_ra", value="0")
        yield Sysctl(path=f"net/ipv6/conf/{link}/forwarding", value="1")
