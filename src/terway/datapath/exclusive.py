"""What a pod with an ENI of its own has: the device itself, and a second leg to the node.

    pod                                               node
    eth0    the ENI's device                          cali…   fe80::1/128, 169.254.1.1
      192.168.32.1/32, v6 /128                          192.168.32.1/32 dev cali…  (main)
      default via the vSwitch's gateway onlink ─► VPC   no rules; what it forwards for the pod
    veth1   the same addresses             ◄─ veth ─►   leaves with the node's address
      services, host-stack ranges, the node via 169.254.1.1, fe80::1
      neighbour 169.254.1.1 = MAC of cali…, permanent

Everything but what the second leg leads to goes straight to the VPC. Source: upstream Terway,
ExclusiveENI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from terway.datapath.ebpf import inner_programs, leg_programs
from terway.datapath.facts import NodeFacts
from terway.datapath.guard import guard_for
from terway.datapath.host import EVERYWHERE, GATEWAY_SCOPE, host_route_scope, link_sysctls
from terway.datapath.names import (
    IN_POD_PRIORITY,
    alias_of,
    host_link_name,
    host_mac_of,
    link_local_gateway,
    pod_mac_of,
    table_of,
)
from terway.datapath.reach import METADATA, metadata_rules
from terway.datapath.shaping import shared_limits
from terway.datapath.trunk import has_vlan_device, members_of, vlan_port
from terway.model.address import Family, IPNetwork, IPPair, family_of
from terway.model.attachment import Attachment
from terway.model.device import Device
from terway.model.ids import MacAddress
from terway.model.network import (
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

LEG_IFNAME = "veth1"
LEG_GROUP = 0x7E1E
"""The link group of second legs: where pods share ENIs, it tells them from other pods' links."""

# Not that of a pod's host link: a sweep deletes those that it does not know.
_ALIAS = "terway-eni"
FREE_ALIAS = f"{_ALIAS} of no pod"
_UNKNOWN = IPPair()


def device_alias(attachment: Attachment) -> str:
    """Return the alias of a device while it is the attachment's."""
    return f"{_ALIAS} {attachment.key}"


def node_name_of(mac: MacAddress) -> str:
    """Return the name of a device on its way to a pod, and after it: ``eni`` and the MAC.

    The MAC makes it unique on the node and in the pod; it has the 15 bytes that a name may have.
    """
    return f"eni{mac.replace(':', '')}"


def desired_device(
    attachment: Attachment, *, gateways: IPPair, node: NodeFacts, trunk: str = ""
) -> Device:
    """Return the device of `attachment`, and what the pod has of it.

    `gateways` are those of the ENI's vSwitch, `trunk` is the link that a member's device is over.
    """
    return Device(
        mac=attachment.lease.eni_mac,
        alias=device_alias(attachment),
        ifname=attachment.key.ifname,
        netns=Netns(attachment.netns),
        mtu_bytes=node.mtu_bytes,
        pod=tuple(_device_side(attachment, gateways, node)),
        vlan=vlan_port(attachment, trunk),
    )


def _device_side(attachment: Attachment, gateways: IPPair, node: NodeFacts) -> Iterator[NetObject]:
    ifname, addresses = attachment.key.ifname, attachment.lease.addresses
    yield from pod_sysctls(ifname, tuple(map(family_of, addresses)))
    yield LinkSettings(name="lo")
    alias = device_alias(attachment) if has_vlan_device(attachment) else ""
    yield LinkSettings(name=ifname, mac=attachment.lease.eni_mac, alias=alias)
    yield from shared_limits(attachment.spec.bandwidth, ifname, node)
    yield from inner_programs(attachment, node, LEG_IFNAME)
    for address in addresses:
        yield LinkAddress(link=ifname, address=ip_interface(address))
        yield from ways_out(attachment, family_of(address), gateways)


def ways_out(attachment: Attachment, family: Family, gateways: IPPair) -> Iterator[Route]:
    """Yield the routes of a pod that reaches its vSwitch's gateway itself."""
    ifname, gateway = attachment.key.ifname, gateways.of(family)
    if gateway is None:
        return
    if family is Family.V6:
        # The kernel accepts an on-link gateway only where no other link leads to it.
        yield Route(destination=ip_network(gateway), link=ifname)
    beside = (one for one in attachment.spec.routes if family_of(one) is family)
    default = (EVERYWHERE[family],) if attachment.spec.has_default_route else ()
    for destination in (*default, *beside):
        yield Route(destination=destination, link=ifname, gateway=gateway, is_onlink=True)


def has_leg(attachment: Attachment) -> bool:
    """Return whether the interface has a second leg: one of a pod's has, the first."""
    return not attachment.spec.parent


def needs_device_table(attachment: Attachment) -> bool:
    """Return whether a device has a table of its own in the pod, numbered after its link.

    The first of several has none: what is routed by the second leg is in the main table.
    """
    return bool(attachment.spec.parent)


def with_device_table(
    device: Device, attachment: Attachment, *, gateways: IPPair, ifindex: int
) -> Device:
    """Return `device` with the table by which its address is answered, and what is bound to it."""
    table = tuple(_device_table(attachment, gateways, table_of(ifindex)))
    return replace(device, pod=(*device.pod, *table))


def _device_table(attachment: Attachment, gateways: IPPair, table: int) -> Iterator[NetObject]:
    ifname = attachment.key.ifname
    for address in attachment.lease.addresses:
        family = family_of(address)
        gateway = gateways.of(family)
        if gateway is None:
            continue
        if family is Family.V6:
            # The kernel accepts an on-link gateway only where no other link leads to it.
            yield Route(destination=ip_network(gateway), link=ifname)
        yield Route(
            destination=EVERYWHERE[family],
            link=ifname,
            table=table,
            gateway=gateway,
            is_onlink=True,
        )
        yield RoutingRule(family=family, priority=IN_POD_PRIORITY, table=table, oif=ifname)
        yield RoutingRule(
            family=family, priority=IN_POD_PRIORITY, table=table, source=ip_network(address)
        )


def desired_leg(
    attachment: Attachment, *, node: NodeFacts, gateways: IPPair = _UNKNOWN, trunk: str = ""
) -> AttachmentState:
    """Return what the kernel should have of the second leg: a veth without rules.

    `gateways` are those of the ENI's vSwitch, for programs at the leg. `trunk` is the link that a
    member's device is over: what is there of it is on the node, too.
    """
    addresses = attachment.lease.addresses
    families = tuple(map(family_of, addresses))
    return AttachmentState(
        birth=_birth(attachment, node),
        addresses=addresses,
        alias=alias_of(attachment.key),
        is_paired=True,
        node=(
            *members_of(attachment, trunk),
            *_node_side(attachment, families, gateways, node),
        ),
        pod=tuple(_leg_side(attachment, families, node)),
    )


def _birth(attachment: Attachment, node: NodeFacts) -> CreateVeth:
    key, mtu_bytes = attachment.key, node.mtu_bytes
    name = host_link_name(key, attachment.pod)
    return CreateVeth(
        host=LinkSettings(
            name=name, mac=host_mac_of(attachment), mtu_bytes=mtu_bytes, group=LEG_GROUP
        ),
        peer=LinkSettings(name=LEG_IFNAME, mac=pod_mac_of(attachment), mtu_bytes=mtu_bytes),
        netns=Netns(attachment.netns),
    )


def _node_side(
    attachment: Attachment, families: tuple[Family, ...], gateways: IPPair, node: NodeFacts
) -> Iterator[NetObject]:
    name = host_link_name(attachment.key, attachment.pod)
    key, addresses = attachment.key, attachment.lease.addresses
    yield LinkSettings(name=name, mac=host_mac_of(attachment), alias=alias_of(key), group=LEG_GROUP)
    yield guard_for(attachment, name, mac=pod_mac_of(attachment))
    yield from leg_programs(attachment, gateways, node)
    yield from link_sysctls(name, families)
    for family in families:
        gateway = ip_interface(link_local_gateway(family))
        yield LinkAddress(link=name, address=gateway, scope=GATEWAY_SCOPE[family])
    for address in addresses:
        scope = host_route_scope(family_of(address))
        yield Route(destination=ip_network(address), link=name, scope=scope)
    yield from metadata_rules(attachment)


def _leg_side(
    attachment: Attachment, families: tuple[Family, ...], node: NodeFacts
) -> Iterator[NetObject]:
    yield from pod_sysctls(LEG_IFNAME, families)
    yield LinkSettings(name=LEG_IFNAME)
    yield from shared_limits(attachment.spec.bandwidth, LEG_IFNAME, node)
    for address in attachment.lease.addresses:
        yield LinkAddress(link=LEG_IFNAME, address=ip_interface(address))
    for family in families:
        gateway = link_local_gateway(family)
        yield Neighbour(link=LEG_IFNAME, address=gateway, mac=host_mac_of(attachment))
        scope = host_route_scope(family)
        yield Route(destination=ip_network(gateway), link=LEG_IFNAME, scope=scope)
        for destination in _by_the_node(attachment, family, node):
            yield Route(destination=destination, link=LEG_IFNAME, gateway=gateway, is_onlink=True)


def _by_the_node(attachment: Attachment, family: Family, node: NodeFacts) -> tuple[IPNetwork, ...]:
    """Return what a pod reaches by the node: once each, though a user may name it twice.

    Services only where no program at the pod's own device leads to their backends.

    The metadata service is there where the pod may not reach it: the node's rule then says so.
    """
    own = node.addresses.of(family)
    ranges = (
        *(() if attachment.spec.has_metadata else (METADATA,)),
        *(() if node.has_services else node.service_cidrs),
        *node.host_stack_cidrs,
        *(() if own is None else (ip_network(own),)),
    )
    return tuple(dict.fromkeys(one for one in ranges if family_of(one) is family))


def pod_sysctls(link: str, families: tuple[Family, ...]) -> Iterator[Sysctl]:
    """Yield the settings of a pod's link whose neighbour is not the node."""
    if Family.V6 not in families:
        return
    # Some runtimes switch IPv6 off in every new namespace; and a packet of the pod to itself
    # crosses lo. No router announces anything, and the VPC makes addresses unique: detection
    # would only keep the link-local address unusable for a second or two.
    for where in ("lo", link):
        yield Sysctl(path=f"net/ipv6/conf/{where}/disable_ipv6", value="0")
    yield Sysctl(path=f"net/ipv6/conf/{link}/accept_ra", value="0")
    yield Sysctl(path=f"net/ipv6/conf/{link}/accept_dad", value="0")
