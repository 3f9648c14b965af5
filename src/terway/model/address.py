"""Addresses of one or both IP families, and the arithmetic of vSwitch ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class Family(Enum):
    """An IP family. Code for both is written once, over these two values."""

    V4 = 4
    V6 = 6

    @property
    def max_prefixlen(self) -> int:
        """Return the bits of an address: 32 or 128."""
        return 32 if self is Family.V4 else 128


class IPStack(Enum):
    """Which families a node's pods have: `ip_stack` of eni-config."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families, IPv4 first."""
        match self:
            case IPStack.IPV4:
                return (Family.V4,)
            case IPStack.IPV6:
                return (Family.V6,)
            case IPStack.DUAL:
                return (Family.V4, Family.V6)


@dataclass(frozen=True, slots=True, kw_only=True)
class IPPair:
    """At most one address of each family: what a pod has."""

    v4: IPv4Address | None = None
    v6: IPv6Address | None = None

    def __iter__(self) -> Iterator[IPAddress]:
        """Iterate over the addresses that are there, IPv4 first."""
        if self.v4 is not None:
            yield self.v4
        if self.v6 is not None:
            yield self.v6

    def of(self, family: Family) -> IPAddress | None:
        """Return the address of `family`, or None."""
        return self.v4 if family is Family.V4 else self.v6


def family_of(address: IPAddress | IPNetwork) -> Family:
    """Return the family of an address or network."""
    return Family.V4 if address.version == 4 else Family.V6


def gateway_of(cidr: IPNetwork) -> IPAddress:
    """Return the VPC router's address in a vSwitch: the third from the end of its range.

    192.168.32.0/19 has 192.168.63.253; 2408:…:10::/64 has …:ffff:ffff:ffff:fffd.
    Source: help page "vSwitch", reserved addresses.
    """
    return cidr[-3]
