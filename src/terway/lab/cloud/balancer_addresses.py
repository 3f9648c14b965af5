"""Which address does a new load balancer get? One of its vSwitch, or one of the internet.

The internet of the lab are ranges of the documentation's (RFC 5737 TEST-NET-2, RFC 3849): all
VPCs reach them, and nobody else has them.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.cloud.addresses import choose_v4, choose_v6, is_usable_v4, offset_of
from terway.lab.cloud.records import VSwitchRecord
from terway.lab.cloud.refusal import Refusal, invalid
from terway.lab.cloud.world import World
from terway.model.address import IPAddress

PUBLIC_V4 = IPv4Network("198.51.100.0/24")
PUBLIC_V6 = IPv6Network("2001:db8:0:ffff::/64")


def take_v4(world: World, vswitch: VSwitchRecord, wanted: str = "") -> IPv4Address:
    """Return a free IPv4 address of a vSwitch, or the one that is wanted. Raises Refusal."""
    taken = world.state.taken_v4(vswitch.id)
    if wanted:
        return _wanted(vswitch, taken, wanted)
    after = world.state.cursors.get(vswitch.id, 0)
    (address,) = choose_v4(vswitch.cidr, taken, 1, after=after)
    world.state.cursors[vswitch.id] = offset_of(vswitch.cidr, address)
    return address


def _wanted(vswitch: VSwitchRecord, taken: Container[IPv4Address], wanted: str) -> IPv4Address:
    try:
        address = IPv4Address(wanted)
    except ValueError as error:
        raise invalid("Address", str(error)) from error
    if not is_usable_v4(vswitch.cidr, address):
        raise invalid("Address", f"{address} cannot be given in {vswitch.cidr}")
    if address in taken:
        raise Refusal("IpNotAvailable", f"The address {address} has an owner.")
    return address


def take_v6(world: World, vswitch: VSwitchRecord) -> IPv6Address:
    """Return a free IPv6 address of a vSwitch. Raises Refusal where it has none."""
    if vswitch.ipv6_cidr is None:
        message = f"The vSwitch {vswitch.id} has no IPv6 range."
        raise Refusal("OperationDenied.Ipv6NotSupport", message)
    taken = world.state.taken_v6(vswitch.id)
    (address,) = choose_v6(vswitch.ipv6_cidr, taken, 1, random_bits=world.ids.number)
    return address


def take_public(world: World, *, version: int) -> IPAddress:
    """Return a free address of the internet. Raises Refusal when there is none."""
    taken = world.state.balancing.public_addresses()
    if version == 4:
        found = next((one for one in PUBLIC_V4.hosts() if one not in taken), None)
        if found is None:
            raise Refusal("ObtainIpFail", f"All addresses of {PUBLIC_V4} are taken.")
        return found
    held = {one for one in taken if isinstance(one, IPv6Address)}
    return choose_v6(PUBLIC_V6, held, 1, random_bits=world.ids.number)[0]
