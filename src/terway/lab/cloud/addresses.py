"""Which address does a new owner get? IPv4 in turn, IPv6 at random, never a taken one.

Reserved are the first and the last three addresses of a vSwitch's IPv4 range, and the first and
the last nine of its IPv6 range. Source: help page "vSwitch", reserved addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.cloud.refusal import forbidden

RESERVED_V4_TAIL = 3
RESERVED_V6_TAIL = 9


def usable_count(cidr: IPv4Network) -> int:
    """Return how many addresses of a vSwitch can be given: 252 of a /24."""
    return cidr.num_addresses - 1 - RESERVED_V4_TAIL


def is_usable_v4(cidr: IPv4Network, address: IPv4Address) -> bool:
    """Return whether `address` can be given in a vSwitch with `cidr`."""
    return address in cidr and 0 < _offset(cidr, address) < cidr.num_addresses - RESERVED_V4_TAIL


def is_usable_v6(cidr: IPv6Network, address: IPv6Address) -> bool:
    """Return whether `address` can be given in a vSwitch with `cidr`."""
    return address in cidr and 0 < _offset(cidr, address) < cidr.num_addresses - RESERVED_V6_TAIL


def choose_v4(
    cidr: IPv4Network,
    taken: Container[IPv4Address],
    count: int,
    *,
    after: int,
    avoid: Container[IPv4Address] = (),
) -> tuple[IPv4Address, ...]:
    """Return the next `count` free addresses behind offset `after`, starting over at the end.

    In turn, so that a released address rests for as long as the range allows, as in the cloud.
    Raises the refusal InvalidVSwitchId.IpNotEnough.
    """
    usable = usable_count(cidr)
    found: list[IPv4Address] = []
    for step in range(usable):
        if len(found) == count:
            break
        address = cidr[1 + (after + step) % usable]
        if address not in taken and address not in avoid:
            found.append(address)
    if len(found) < count:
        message = f"The specified vSwitch {cidr} has {len(found)} free addresses, {count} wanted."
        raise forbidden("InvalidVSwitchId.IpNotEnough", message)
    return tuple(found)


def choose_v6(
    cidr: IPv6Network,
    taken: Container[IPv6Address],
    count: int,
    *,
    random_bits: Callable[[int], int],
) -> tuple[IPv6Address, ...]:
    """Return `count` random free addresses; a /64 has enough of them."""
    found: list[IPv6Address] = []
    while len(found) < count:
        address = cidr[random_bits(cidr.max_prefixlen - cidr.prefixlen)]
        if is_usable_v6(cidr, address) and address not in taken and address not in found:
            found.append(address)
    return tuple(found)


def offset_of(cidr: IPv4Network, address: IPv4Address) -> int:
    """Return where `choose_v4` goes on after giving `address`."""
    return _offset(cidr, address)


def _offset(cidr: IPv4Network | IPv6Network, address: IPv4Address | IPv6Address) -> int:
    return int(address) - int(cidr.network_address)
