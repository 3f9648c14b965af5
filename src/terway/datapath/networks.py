"""What a pod with several interfaces, or with routes of its own, has in its namespace beside them.

    main table     default via the link-local gateway, on one interface only; extra routes
    512  oif eth1             lookup 1000 + ifindex of eth1      what was bound to the interface
    512  from eth1's address  lookup 1000 + ifindex of eth1      what is answered from it
    table 1000 + ifindex      default via the link-local gateway dev eth1

The next hop in the pod is the node's end of the veth; the node's rule for the address then leads
to the gateway of the vSwitch that the address is of. Source: upstream Terway, PolicyRoute; its
rules by interface are for IPv4 alone, here they are for both families.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from terway.datapath.host import EVERYWHERE, host_route_scope
from terway.datapath.names import (
    IN_POD_PRIORITY,
    is_eni_table,
    link_local_gateway,
    table_of,
)
from terway.model.address import Family, IPNetwork, family_of
from terway.model.attachment import Attachment
from terway.model.network import (
    MAIN_TABLE,
    AttachmentState,
    NetObject,
    Route,
    RoutingRule,
)


def routes_of(attachment: Attachment) -> Iterator[Route]:
    """Yield the routes of the pod's main table by one interface, in the families it has."""
    link = attachment.key.ifname
    families = tuple(family_of(one) for one in attachment.lease.addresses)
    extra = tuple(one for one in attachment.spec.routes if family_of(one) in families)
    for family in families:
        # As upstream has it, where it can be: IPv4 has one such route, whatever the links.
        if not attachment.spec.parent and any(family_of(one) is family for one in extra):
            gateway = ip_network(link_local_gateway(family))
            yield Route(destination=gateway, link=link, scope=host_route_scope(family))
        if attachment.spec.has_default_route:
            yield _by_gateway(EVERYWHERE[family], link)
    for destination in extra:
        yield _by_gateway(destination, link)


def needs_own_table(attachment: Attachment) -> bool:
    """Return whether the interface has a table of its own, which is numbered after its link."""
    return attachment.spec.is_one_of_several


def with_own_table(
    desired: AttachmentState, attachment: Attachment, *, pod_ifindex: int
) -> AttachmentState:
    """Return `desired` with the interface's own table and its rules, in the pod's namespace."""
    if desired.pod is None:
        return desired
    return replace(desired, pod=(*desired.pod, *_own_table(attachment, table_of(pod_ifindex))))


def _own_table(attachment: Attachment, table: int) -> Iterator[NetObject]:
    link = attachment.key.ifname
    for address in attachment.lease.addresses:
        family = family_of(address)
        yield _by_gateway(EVERYWHERE[family], link, table=table)
        yield _rule(family, table, oif=link)
        yield _rule(family, table, source=ip_network(address))


def is_stale_in_pod(one: NetObject, link: str) -> bool:
    """Return whether a rule in the pod that was not planned is one of ours for `link`.

    An interface that was made again has another number; the rules of the old one outlive it.
    """
    if not isinstance(one, RoutingRule):
        return False
    return one.priority == IN_POD_PRIORITY and one.oif == link and is_eni_table(one.table)


def _rule(
    family: Family, table: int, *, oif: str = "", source: IPNetwork | None = None
) -> RoutingRule:
    return RoutingRule(family=family, priority=IN_POD_PRIORITY, table=table, oif=oif, source=source)


def _by_gateway(destination: IPNetwork, link: str, *, table: int = MAIN_TABLE) -> Route:
    return Route(
        destination=destination,
        link=link,
        table=table,
        gateway=link_local_gateway(family_of(destination)),
        is_onlink=True,
    )
