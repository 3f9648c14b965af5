"""How an attachment's links are told to the runtime."""

from __future__ import annotations

from dataclasses import dataclass

from terway.cni.result import Interface, IPConfig, Result, Route
from terway.model.address import Family, IPAddress, family_of
from terway.model.attachment import Attachment
from terway.model.ids import MacAddress

# The pod's gateway, an address that every node has: upstream's, other tools know it.
GATEWAYS = {Family.V4: "169.254.1.1", Family.V6: "fe80::1"}
_DEFAULTS = {Family.V4: "0.0.0.0/0", Family.V6: "::/0"}
_HOST, _POD = 0, 1  # places in `interfaces`


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedLinks:
    """The two ends of an attachment's veth, as they are in the kernel."""

    host_name: str
    host_mac: MacAddress
    pod_mac: MacAddress
    mtu_bytes: int


def result_of(attachment: Attachment, links: AttachedLinks) -> Result:
    """Return the result object of `attachment`: host end first, then the container's."""
    addresses = tuple(attachment.lease.addresses)
    return Result(
        interfaces=(
            Interface(name=links.host_name, mac=links.host_mac, mtu=links.mtu_bytes),
            Interface(
                name=attachment.key.ifname,
                mac=links.pod_mac,
                mtu=links.mtu_bytes,
                sandbox=attachment.netns,
            ),
        ),
        ips=tuple(_ip(address) for address in addresses),
        routes=tuple(_default(address) for address in addresses),
    )


def _ip(address: IPAddress) -> IPConfig:
    family = family_of(address)
    return IPConfig(
        address=f"{address}/{family.max_prefixlen}", gateway=GATEWAYS[family], interface=_POD
    )


def _default(address: IPAddress) -> Route:
    family = family_of(address)
    return Route(dst=_DEFAULTS[family], gw=GATEWAYS[family])
