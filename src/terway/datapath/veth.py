"""Mode ``veth`` (policy routing): the desired state of one attachment, both sides.

    pod namespace                         node namespace
    eth0  address /32, /128     veth      cali…  route to the pod, its neighbour entry
    default via 169.254.1.1,  ◄──────►    rule  512  to the pod    lookup main
                fe80::1                   rule 2048  from the pod  lookup the ENI's table
    neighbour 169.254.1.1 =               table 1000+ifindex: default via the vSwitch's gateway
      MAC of cali…

Source: upstream Terway, PolicyRoute. Ours alone is the node's permanent neighbour entry for the
pod: the node's first IPv6 packet to a new pod would otherwise wait until duplicate address
detection has let the host end have a link-local address to ask from (a second or two).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network

from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.host import EVERYWHERE, host_route_scope, link_sysctls
from terway.datapath.names import (
    FROM_POD_PRIORITY,
    TO_POD_PRIORITY,
    alias_of,
    host_link_name,
    host_mac,
    link_local_gateway,
    pod_mac,
    table_of,
)
from terway.model.address import Family, IPAddress, family_of
from terway.model.attachment import Attachment
from terway.model.network import (
    MAIN_TABLE,
    AttachmentState,
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Route,
    RoutingRule,
    Sysctl,
)


def desired_attachment(attachment: Attachment, *, eni: ENILink, node: NodeFacts) -> AttachmentState:
    """Return what the kernel should have for `attachment`, whose addresses are of `eni`."""
    addresses = attachment.lease.addresses
    families = tuple(family_of(address) for address in addresses)
    return AttachmentState(
        host_link=host_link_name(attachment.key, attachment.pod),
        netns=Netns(attachment.netns),
        ifname=attachment.key.ifname,
        addresses=addresses,
        alias=alias_of(attachment.key),
        is_paired=True,
        node=tuple(_node_side(attachment, families, eni, node)),
        pod=tuple(_pod_side(attachment, families, node)),
    )


def _node_side(
    attachment: Attachment, families: tuple[Family, ...], eni: ENILink, node: NodeFacts
) -> Iterator[NetObject]:
    key = attachment.key
    name = host_link_name(key, attachment.pod)
    yield LinkSettings(name=name, mac=host_mac(key), mtu_bytes=node.mtu_bytes, alias=alias_of(key))
    yield from link_sysctls(name, families)
    for address in attachment.lease.addresses:
        family, exactly = family_of(address), ip_network(address)
        yield Route(destination=exactly, link=name, scope=host_route_scope(family))
        yield Neighbour(link=name, address=address, mac=pod_mac(key))
        yield from _rules(address, table_of(eni.ifindex))


def _rules(address: IPAddress, table: int) -> Iterator[RoutingRule]:
    family, exactly = family_of(address), ip_network(address)
    yield RoutingRule(
        family=family, priority=TO_POD_PRIORITY, destination=exactly, table=MAIN_TABLE
    )
    yield RoutingRule(family=family, priority=FROM_POD_PRIORITY, source=exactly, table=table)


def _pod_side(
    attachment: Attachment, families: tuple[Family, ...], node: NodeFacts
) -> Iterator[NetObject]:
    key = attachment.key
    if Family.V6 in families:
        # Some runtimes switch IPv6 off in every new namespace.
        for where in ("all", "default", key.ifname):
            yield Sysctl(path=f"net/ipv6/conf/{where}/disable_ipv6", value="0")
        yield Sysctl(path=f"net/ipv6/conf/{key.ifname}/accept_ra", value="0")
    yield LinkSettings(name="lo")
    yield LinkSettings(name=key.ifname, mac=pod_mac(key), mtu_bytes=node.mtu_bytes)
    for address in attachment.lease.addresses:
        gateway = link_local_gateway(family_of(address))
        yield LinkAddress(link=key.ifname, address=ip_interface(address))
        yield Neighbour(link=key.ifname, address=gateway, mac=host_mac(key))
        yield Route(
            destination=EVERYWHERE[family_of(address)],
            link=key.ifname,
            gateway=gateway,
            is_onlink=True,
        )
