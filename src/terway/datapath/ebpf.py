"""What has the eBPF data path of a node, its ENIs and its pods? Programs, and what they are told.

Nothing of the layout is different for it: the rules and routes of policy routing stay, and lead
what the programs leave to the node's own stack. Where a node has no such data path
(`NodeFacts.has_datapath`), nothing of it is desired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from terway.datapath.facts import ENILink, NodeFacts
from terway.datapath.names import host_child_name, host_link_name, host_mac_of, pod_mac_of
from terway.model.address import IPAddress, IPNetwork, IPPair
from terway.model.attachment import Attachment
from terway.model.endpoint import Endpoint, EndpointKind, endpoint_number
from terway.model.network import AttachmentState, LinkAddress, NetObject
from terway.model.programs import Edge, EdgePrograms, InnerPrograms, NodeKnowledge, PodPrograms


def veth_programs(attachment: Attachment, eni: ENILink, node: NodeFacts) -> Iterator[PodPrograms]:
    """Yield the programs at the node's end of a pod that shares an ENI by policy routing."""
    if not node.has_datapath:
        return
    spec = attachment.spec
    yield PodPrograms(
        link=host_link_name(attachment.key, attachment.pod),
        endpoint=Endpoint(
            number=endpoint_number(attachment.key),
            kind=EndpointKind.VETH,
            addresses=attachment.lease.addresses,
            gateways=eni.gateways,
            eni=eni.ifindex,
            pod_mac=pod_mac_of(attachment),
            link_mac=host_mac_of(attachment),
            mtu_bytes=node.mtu_bytes,
            has_metadata=spec.has_metadata,
            is_queued=spec.bandwidth.ingress is not None,
        ),
    )


def child_programs(attachment: Attachment, eni: ENILink, node: NodeFacts) -> Iterator[PodPrograms]:
    """Yield who the endpoint is that is an ipvlan child; its programs are inside the pod."""
    if not node.has_datapath:
        return
    yield PodPrograms(
        link=host_child_name(eni.ifindex),
        endpoint=Endpoint(
            number=endpoint_number(attachment.key),
            kind=EndpointKind.IPVLAN,
            addresses=attachment.lease.addresses,
            gateways=eni.gateways,
            eni=eni.ifindex,
            pod_mac=eni.mac,
            link_mac=eni.mac,
            mtu_bytes=node.mtu_bytes,
            has_metadata=attachment.spec.has_metadata,
        ),
    )


def leg_programs(
    attachment: Attachment, gateways: IPPair, node: NodeFacts
) -> Iterator[PodPrograms]:
    """Yield the programs at the node's end of an exclusive pod's second leg.

    `gateways` are those of the ENI's vSwitch: a pod may always talk of neighbours with them.
    """
    if not node.has_datapath:
        return
    yield PodPrograms(
        link=host_link_name(attachment.key, attachment.pod),
        endpoint=Endpoint(
            number=endpoint_number(attachment.key),
            kind=EndpointKind.EXCLUSIVE,
            addresses=attachment.lease.addresses,
            gateways=gateways,
            pod_mac=pod_mac_of(attachment),
            link_mac=host_mac_of(attachment),
            mtu_bytes=node.mtu_bytes,
            has_metadata=attachment.spec.has_metadata,
        ),
    )


def inner_programs(attachment: Attachment, node: NodeFacts, leg: str) -> Iterator[InnerPrograms]:
    """Yield the programs at a pod's own device, inside the pod."""
    if node.has_datapath:
        number = endpoint_number(attachment.key)
        yield InnerPrograms(link=attachment.key.ifname, number=number, leg=leg)


def eni_programs(eni: ENILink, node: NodeFacts) -> Iterator[EdgePrograms]:
    """Yield the programs at an ENI that pods share."""
    if node.has_datapath:
        yield EdgePrograms(link=eni.name, edge=Edge.ENI)


def node_programs(node: NodeFacts) -> Iterator[EdgePrograms | NodeKnowledge]:
    """Yield the programs at the node's uplink, and what all programs know of the node."""
    if not node.has_datapath:
        return
    yield NodeKnowledge(
        link=node.uplink,
        addresses=node.addresses,
        gateways=node.gateways,
        mtu_bytes=node.mtu_bytes,
        host_stack=left_to_the_stack(node),
    )
    yield EdgePrograms(link=node.uplink, edge=Edge.UPLINK)


def own_addresses(node: NodeFacts, objects: Iterable[NetObject]) -> frozenset[IPAddress]:
    """Return the addresses that are the node's own: packets for them are its stack's.

    A link-local address is many links' at once, and leads nowhere but to its link.
    """
    given = (one.address.ip for one in objects if isinstance(one, LinkAddress))
    return frozenset(
        one for one in (*given, *node.addresses) if not one.is_link_local and not one.is_loopback
    )


def without_programs(desired: AttachmentState) -> AttachmentState:
    """Return `desired` for a pod that the data path does not see yet."""
    return replace(
        desired,
        node=tuple(one for one in desired.node if not isinstance(one, PodPrograms)),
        pod=None if desired.pod is None else outside_programs(desired.pod),
    )


def outside_programs(objects: Iterable[NetObject]) -> tuple[NetObject, ...]:
    """Return what is desired inside a pod, less the programs there."""
    return tuple(one for one in objects if not isinstance(one, InnerPrograms))


def left_to_the_stack(node: NodeFacts) -> tuple[IPNetwork, ...]:
    """Return the prefixes of the host's stack: services too, where somebody else does those."""
    services = () if node.has_services else node.service_cidrs
    found = (*node.host_stack_cidrs, *services)
    return tuple(sorted(set(found), key=lambda one: (one.version, one)))
