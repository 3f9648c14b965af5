"""Mode ``ipvlan``: the pod is an IPvlan child (L2) of its ENI. The desired state, both sides.

    pod namespace                        node namespace
    eth0  child of eth1     ── ipvlan ── eth1     the ENI, configured as with policy routing
      address /32, /128                  ipvl_7   the node's own child of it, without ARP:
      default via the vSwitch's                     no address, a route to each pod
        gateway, onlink                  rules 512, 2048 as with policy routing: for what
      the node's address: on the link,     the node's own stack forwards
        at the ENI's own MAC

All children have the ENI's MAC. A frame for it goes to the child that has the destination address,
and to the node's stack if none has. Source: upstream Terway, IPvlan, which gives pods the vSwitch's
mask: their neighbours would then be every pod of the vSwitch, asked for by broadcasts that each
child of each ENI there hears. With /32 there is one, the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_interface, ip_network

from terway.datapath.ebpf import child_programs, inner_programs
from terway.datapath.exclusive import pod_sysctls, ways_out
from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.host import host_route_scope
from terway.datapath.names import alias_of, host_child_name
from terway.datapath.priority import classes_of
from terway.datapath.reach import metadata_rules
from terway.datapath.shaping import shared_limits
from terway.datapath.veth import rules_of
from terway.model.address import family_of
from terway.model.attachment import Attachment
from terway.model.network import (
    NODE,
    AttachmentState,
    CreateIpvlan,
    Link,
    LinkAddress,
    LinkSettings,
    Neighbour,
    Netns,
    NetObject,
    Route,
)


def desired_child(attachment: Attachment, *, eni: ENILink, node: NodeFacts) -> AttachmentState:
    """Return what the kernel should have for `attachment`, whose addresses are of `eni`."""
    key = attachment.key
    return AttachmentState(
        birth=CreateIpvlan(
            parent=eni.name,
            host=LinkSettings(name=host_child_name(eni.ifindex), mac=eni.mac),
            peer=LinkSettings(name=key.ifname, mac=eni.mac, mtu_bytes=node.mtu_bytes),
            netns=Netns(attachment.netns),
        ),
        addresses=attachment.lease.addresses,
        alias=alias_of(key),
        is_paired=True,
        node=tuple(_node_side(attachment, eni, node)),
        pod=tuple(_pod_side(attachment, eni, node)),
    )


def _node_side(attachment: Attachment, eni: ENILink, node: NodeFacts) -> Iterator[NetObject]:
    yield from child_programs(attachment, eni, node)
    yield from classes_of(attachment, eni, node)
    for address in attachment.lease.addresses:
        family = family_of(address)
        yield Route(
            destination=ip_network(address),
            link=host_child_name(eni.ifindex),
            scope=host_route_scope(family),
        )
        yield from rules_of(address, eni)
    yield from metadata_rules(attachment)


def _pod_side(attachment: Attachment, eni: ENILink, node: NodeFacts) -> Iterator[NetObject]:
    ifname, addresses = attachment.key.ifname, attachment.lease.addresses
    yield from pod_sysctls(ifname, tuple(map(family_of, addresses)))
    yield LinkSettings(name="lo")
    yield LinkSettings(name=ifname, alias=alias_of(attachment.key))
    yield from inner_programs(attachment, node, leg="")
    yield from shared_limits(attachment.spec.bandwidth, ifname, node)
    for address in addresses:
        family = family_of(address)
        yield LinkAddress(link=ifname, address=ip_interface(address))
        yield from ways_out(attachment, family, eni.gateways)
        own = node.addresses.of(family)
        if own is not None:
            scope = host_route_scope(family)
            yield Route(destination=ip_network(own), link=ifname, scope=scope)
            yield Neighbour(link=ifname, address=own, mac=eni.mac)


def plan_host_children(
    enis: Iterable[ENILink], links: Iterable[Link], node: NodeFacts
) -> tuple[CreateIpvlan, ...]:
    """Return what makes the host children that `enis` lack among the node's `links`."""
    if not node.has_children:
        return ()
    there = {one.name for one in links}
    return tuple(_host_birth(eni) for eni in enis if host_child_name(eni.ifindex) not in there)


def _host_birth(eni: ENILink) -> CreateIpvlan:
    child = LinkSettings(name=host_child_name(eni.ifindex))
    return CreateIpvlan(parent=eni.name, host=child, peer=child, netns=NODE)
