"""How an attachment's links are told to the runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from terway.cni.result import Interface, IPConfig, Result, Route
from terway.model.address import Family, IPAddress, IPPair, family_of
from terway.model.attachment import Attachment
from terway.model.ids import MacAddress

# The pod's gateway, an address that every node has: upstream's, other tools know it.
GATEWAYS = IPPair(v4=IPv4Address("169.254.1.1"), v6=IPv6Address("fe80::1"))
_DEFAULTS = {Family.V4: "0.0.0.0/0", Family.V6: "::/0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedLinks:
    """The two ends of an attachment's veth, as they are in the kernel.

    Where the pod has an ENI's device itself, the host end is that of its second leg, and has no
    name without one; the gateways are the vSwitch's.
    """

    host_name: str
    host_mac: MacAddress
    pod_mac: MacAddress
    mtu_bytes: int
    gateways: IPPair = GATEWAYS


def result_of(made: Iterable[tuple[Attachment, AttachedLinks]]) -> Result:
    """Return the result object of an ADD: of each attachment the host end, then the container's."""
    interfaces: list[Interface] = []
    ips: list[IPConfig] = []
    routes: list[Route] = []
    for attachment, links in made:
        interfaces += _ends(attachment, links)
        pod = len(interfaces) - 1
        ips += (_ip(address, pod, links) for address in attachment.lease.addresses)
        routes += _routes(attachment, links)
    return Result(interfaces=tuple(interfaces), ips=tuple(ips), routes=tuple(routes))


def _ends(attachment: Attachment, links: AttachedLinks) -> Iterator[Interface]:
    name, netns = attachment.key.ifname, attachment.netns
    if links.host_name:
        yield Interface(name=links.host_name, mac=links.host_mac, mtu=links.mtu_bytes)
    yield Interface(name=name, mac=links.pod_mac, mtu=links.mtu_bytes, sandbox=netns)


def _routes(attachment: Attachment, links: AttachedLinks) -> Iterator[Route]:
    families = tuple(family_of(address) for address in attachment.lease.addresses)
    if attachment.spec.has_default_route:
        yield from (Route(dst=_DEFAULTS[one], gw=str(links.gateways.of(one))) for one in families)
    for destination in attachment.spec.routes:
        if family_of(destination) in families:
            gateway = links.gateways.of(family_of(destination))
            yield Route(dst=str(destination), gw=str(gateway))


def _ip(address: IPAddress, interface: int, links: AttachedLinks) -> IPConfig:
    family = family_of(address)
    return IPConfig(
        address=f"{address}/{family.max_prefixlen}",
        gateway=str(links.gateways.of(family)),
        interface=interface,
    )
