"""Which whole ranges does an ENI get? IPv4 /28 from the end of the vSwitch, IPv6 /80 at random.

A range must be free as a whole: a vSwitch may have hundreds of addresses left and no prefix.
Source: help page "IP prefixes of ENIs"; a /28 and a /80 are the only sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.cloud.addresses import is_usable_v4
from terway.lab.cloud.records import VSwitchRecord
from terway.lab.cloud.refusal import Refusal, forbidden
from terway.lab.cloud.world import World

PREFIX_BITS_V4 = 28
PREFIX_BITS_V6 = 80
MOST_PER_CALL = 10


def take_prefixes_v4(world: World, vswitch: VSwitchRecord, count: int) -> tuple[IPv4Network, ...]:
    """Return `count` free /28 ranges of a vSwitch. Raises Refusal."""
    if not count:
        return ()
    taken = world.state.taken_v4(vswitch.id)
    found: list[IPv4Network] = []
    if vswitch.cidr.prefixlen <= PREFIX_BITS_V4:
        for one in _from_the_end(vswitch.cidr):
            if len(found) == count:
                break
            if _is_free(one, vswitch.cidr, taken):
                found.append(one)
    if len(found) < count:
        message = f"The vSwitch {vswitch.id} has {len(found)} free /28 ranges, {count} wanted."
        raise forbidden("InvalidVSwitchId.IpNotEnough", message)
    return tuple(found)


def _from_the_end(cidr: IPv4Network) -> list[IPv4Network]:
    return list(cidr.subnets(new_prefix=PREFIX_BITS_V4))[::-1]


def _is_free(prefix: IPv4Network, cidr: IPv4Network, taken: Collection[IPv4Address]) -> bool:
    return all(is_usable_v4(cidr, ip) and ip not in taken for ip in prefix)


def take_prefixes_v6(world: World, vswitch: VSwitchRecord, count: int) -> tuple[IPv6Network, ...]:
    """Return `count` free /80 ranges of a vSwitch; a /64 has 65536. Raises Refusal."""
    if not count:
        return ()
    cidr = vswitch.ipv6_cidr
    if cidr is None:
        message = f"IPv6 is not turned on in the vSwitch {vswitch.id}."
        raise forbidden("InvalidVSwitch.Ipv6NotTurnOn", message)
    taken = world.state.taken_v6(vswitch.id)
    bits = PREFIX_BITS_V6 - cidr.prefixlen
    found: list[IPv6Network] = []
    while len(found) < count:
        number = world.ids.number(bits)
        start = int(cidr.network_address) + (number << (128 - PREFIX_BITS_V6))
        prefix = IPv6Network((start, PREFIX_BITS_V6))
        # The first and the last hold the vSwitch's reserved addresses.
        is_inner = 0 < number < (1 << bits) - 1
        if is_inner and prefix not in found and not _overlaps(prefix, taken, world, vswitch):
            found.append(prefix)
    return tuple(found)


def _overlaps(
    prefix: IPv6Network, taken: Container[IPv6Address], world: World, vswitch: VSwitchRecord
) -> bool:
    enis = world.state.enis_in(vswitch.id)
    return prefix[0] in taken or any(ip in prefix for eni in enis for ip in eni.ipv6)


def check_prefix_count(parameter: str, count: int | None) -> int:
    """Return a number of new prefixes; None is 0. Raises Refusal."""
    if count is None:
        return 0
    if not 1 <= count <= MOST_PER_CALL:
        message = f"The specified parameter {parameter} is not valid: {count} is not in 1 to 10"
        raise Refusal("InvalidParameter", message)
    return count
