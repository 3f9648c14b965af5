"""Mode ``veth`` (policy routing): the desired state of one attachment, both sides.

    pod namespace                         node namespace
    eth0  address /32, /128     veth      cali…  route to the pod, both gateway addresses
    default via 169.254.1.1,  ◄──────►    rule  512  to the pod    lookup main
                fe80::1                   rule 2048  from the pod  lookup the ENI's table
    neighbour 169.254.1.1 =               table 1000+ifindex: default via the vSwitch's gateway
      MAC of cali…

Source: upstream Terway, PolicyRoute. Ours alone are the gateways' addresses on every host end
(upstream has them only where there are extra routes). The node asks for its neighbours from a
link-local address, and the kernel's own one is not usable until duplicate address detection has
ended, a second or two. And when a chained plugin changes the MAC of the pod's end, the kernel drops
the pod's neighbours, permanent ones too; then the pod asks, and the host end answers.

MAC and MTU of the pod's end are given at birth and not looked at again: a chained plugin such as
`tuning` may have changed them (CNI: CHECK tolerates what later plugins did).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network

from terway.datapath.ebpf import veth_programs
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.guard import guard_for
from terway.datapath.host import GATEWAY_SCOPE, host_route_scope, link_sysctls
from terway.datapath.names import (
    FROM_POD_PRIORITY,
    TO_POD_PRIORITY,
    alias_of,
    host_link_name,
    host_mac_of,
    link_local_gateway,
    pod_mac_of,
    table_of,
)
from terway.datapath.networks import routes_of
from terway.datapath.priority import classes_of
from terway.datapath.reach import metadata_rules
from terway.datapath.shaping import egress_limits, ingress_limits
from terway.datapath.trunk import members_of
from terway.model.address import Family, IPAddress, family_of
from terway.model.attachment import Attachment
from terway.model.network import (
    MAIN_TABLE,
    AttachmentState,
    CreateVeth,
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
        birth=_birth(attachment, node),
        addresses=addresses,
        alias=alias_of(attachment.key),
        is_paired=True,
        node=tuple(_node_side(attachment, families, eni, node)),
        pod=tuple(_pod_side(attachment, families, node)),
    )


def _birth(attachment: Attachment, node: NodeFacts) -> CreateVeth:
    key, mtu_bytes = attachment.key, node.mtu_bytes
    return CreateVeth(
        host=LinkSettings(
            name=host_link_name(key, attachment.pod),
            mac=host_mac_of(attachment),
            mtu_bytes=mtu_bytes,
        ),
        peer=LinkSettings(name=key.ifname, mac=pod_mac_of(attachment), mtu_bytes=mtu_bytes),
        netns=Netns(attachment.netns),
    )


def _node_side(
    attachment: Attachment, families: tuple[Family, ...], eni: ENILink, node: NodeFacts
) -> Iterator[NetObject]:
    key = attachment.key
    name = host_link_name(key, attachment.pod)
    yield LinkSettings(name=name, mac=host_mac_of(attachment), alias=alias_of(key))
    yield guard_for(attachment, name, mac=pod_mac_of(attachment))
    yield from members_of(attachment, eni.name)
    yield from veth_programs(attachment, eni, node)
    yield from ingress_limits(attachment.spec.bandwidth, name)
    yield from classes_of(attachment, eni, node)
    yield from link_sysctls(name, families)
    for family in families:
        gateway = ip_interface(link_local_gateway(family))
        yield LinkAddress(link=name, address=gateway, scope=GATEWAY_SCOPE[family])
    for address in attachment.lease.addresses:
        family, exactly = family_of(address), ip_network(address)
        yield Route(destination=exactly, link=name, scope=host_route_scope(family))
        yield from rules_of(address, eni)
    yield from metadata_rules(attachment)


def rules_of(address: IPAddress, eni: ENILink) -> Iterator[RoutingRule]:
    """Yield the rules by which the node forwards to and from a pod's address."""
    family, exactly, table = family_of(address), ip_network(address), table_of(eni.ifindex)
    yield RoutingRule(
        family=family, priority=TO_POD_PRIORITY, destination=exactly, table=MAIN_TABLE
    )
    yield RoutingRule(family=family, priority=FROM_POD_PRIORITY, source=exactly, table=table)


def _pod_side(
    attachment: Attachment, families: tuple[Family, ...], node: NodeFacts
) -> Iterator[NetObject]:
    key = attachment.key
    if Family.V6 in families:
        # Some runtimes switch IPv6 off in every new namespace. Each link's own value counts, and
        # packets from the pod to itself cross lo.
        for where in ("lo", key.ifname):
            yield Sysctl(path=f"net/ipv6/conf/{where}/disable_ipv6", value="0")
        yield Sysctl(path=f"net/ipv6/conf/{key.ifname}/accept_ra", value="0")
    yield LinkSettings(name="lo")
    yield LinkSettings(name=key.ifname)
    yield from egress_limits(attachment.spec.bandwidth, key.ifname, node)
    for address in attachment.lease.addresses:
        gateway = link_local_gateway(family_of(address))
        yield LinkAddress(link=key.ifname, address=ip_interface(address))
        yield Neighbour(link=key.ifname, address=gateway, mac=host_mac_of(attachment))
    yield from routes_of(attachment)
