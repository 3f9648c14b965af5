"""ECS: give addresses to ENIs and take them away.

An address that is taken away is free at once, and may be given to another ENI in the next call.
Source: OpenAPI ECS 2014-05-26, (Un)AssignPrivateIpAddresses and (Un)AssignIpv6Addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.eni_checks import check_address_limits, check_ecs_state
from terway.lab.cloud.eni_factory import check_count, check_free_v4, take_v4, take_v6
from terway.lab.cloud.prefixes import (
    check_prefix_count,
    take_prefixes_v4,
    take_prefixes_v6,
)
from terway.lab.cloud.records import ENIRecord
from terway.lab.cloud.refusal import Refusal, forbidden, missing
from terway.lab.cloud.requests import Regional
from terway.lab.cloud.transitions import AddressesReady
from terway.lab.cloud.world import World
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENIStatus, ENIType


class AssignPrivateIpAddresses(Regional):
    """The parameters."""

    network_interface_id: str
    private_ip_address: tuple[IPv4Address, ...] = ()
    secondary_private_ip_address_count: int | None = None
    ipv4_prefix_count: int | None = None
    client_token: str = ""


def assign_private_ip_addresses(world: World, request: AssignPrivateIpAddresses) -> Answer:
    """Give secondary IPv4 addresses to an ENI: named ones, or a number of them, or prefixes."""
    eni = _settled_eni(world, request.network_interface_id)
    if request.ipv4_prefix_count is not None:
        return _assign_prefixes_v4(world, eni, request)
    named, wanted = request.private_ip_address, request.secondary_private_ip_address_count
    _check_one(named, wanted, "SecondaryPrivateIpAddressCount")
    most = world.limits.ipv4_per_detached_eni
    count = check_count("SecondaryPrivateIpAddressCount", wanted, most=most)
    _check_limits(world, replace(eni, ipv4=eni.ipv4 + _placeholders_v4(len(named) + count)))
    vswitch = world.state.vswitch(eni.vswitch_id)
    check_free_v4(world, vswitch, named)
    given = (*named, *take_v4(world, vswitch, count))
    _give(world, replace(eni, ipv4=eni.ipv4 + given), given)
    return {
        "AssignedPrivateIpAddressesSet": {
            "NetworkInterfaceId": eni.id,
            "PrivateIpSet": {"PrivateIpAddress": [str(address) for address in given]},
        }
    }


def _assign_prefixes_v4(world: World, eni: ENIRecord, request: AssignPrivateIpAddresses) -> Answer:
    _check_alone(request.private_ip_address, request.secondary_private_ip_address_count)
    count = check_prefix_count("Ipv4PrefixCount", request.ipv4_prefix_count)
    _check_limits(world, replace(eni, ipv4=eni.ipv4 + _placeholders_v4(count)))
    given = take_prefixes_v4(world, world.state.vswitch(eni.vswitch_id), count)
    world.state.put(replace(eni, ipv4_prefixes=eni.ipv4_prefixes + given))
    return {
        "AssignedPrivateIpAddressesSet": {
            "NetworkInterfaceId": eni.id,
            "Ipv4PrefixSet": {"Ipv4Prefixes": [str(prefix) for prefix in given]},
        }
    }


class AssignIpv6Addresses(Regional):
    """The parameters."""

    network_interface_id: str
    ipv6_address: tuple[IPv6Address, ...] = ()
    ipv6_address_count: int | None = None
    ipv6_prefix_count: int | None = None
    client_token: str = ""


def assign_ipv6_addresses(world: World, request: AssignIpv6Addresses) -> Answer:
    """Give IPv6 addresses to an ENI: named ones, or a number of them, or prefixes."""
    eni = _settled_eni(world, request.network_interface_id)
    if request.ipv6_prefix_count is not None:
        return _assign_prefixes_v6(world, eni, request)
    named, wanted = request.ipv6_address, request.ipv6_address_count
    _check_one(named, wanted, "Ipv6AddressCount")
    count = check_count("Ipv6AddressCount", wanted, most=world.limits.ipv6_per_call)
    _check_limits(world, replace(eni, ipv6=eni.ipv6 + _placeholders_v6(len(named) + count)))
    given = take_v6(world, world.state.vswitch(eni.vswitch_id), named, count)
    _give(world, replace(eni, ipv6=eni.ipv6 + given), given)
    return {
        "NetworkInterfaceId": eni.id,
        "Ipv6Sets": {"Ipv6Address": [str(address) for address in given]},
    }


def _assign_prefixes_v6(world: World, eni: ENIRecord, request: AssignIpv6Addresses) -> Answer:
    _check_alone(request.ipv6_address, request.ipv6_address_count)
    count = check_prefix_count("Ipv6PrefixCount", request.ipv6_prefix_count)
    _check_limits(world, replace(eni, ipv6=eni.ipv6 + _placeholders_v6(count)))
    given = take_prefixes_v6(world, world.state.vswitch(eni.vswitch_id), count)
    world.state.put(replace(eni, ipv6_prefixes=eni.ipv6_prefixes + given))
    return {
        "NetworkInterfaceId": eni.id,
        "Ipv6PrefixSets": {"Ipv6Prefix": [str(prefix) for prefix in given]},
    }


def _check_alone(named: Sequence[IPAddress], count: int | None) -> None:
    if named or count is not None:
        message = "Addresses and prefixes cannot be asked for together."
        raise Refusal("InvalidParameter.Conflict", message)


def _settled_eni(world: World, eni_id: str) -> ENIRecord:
    """Return an ENI whose addresses may be changed now. Raises Refusal."""
    eni = world.state.eni(eni_id)
    if eni.status not in (ENIStatus.AVAILABLE, ENIStatus.IN_USE):
        message = (
            "The operation is not allowed in the current ENI state. Expecting status is "
            f'"Available/InUse" while current status is "{eni.status.value}".'
        )
        raise Refusal("InvalidOperation.InvalidEniState", message)
    if eni.type is ENIType.PRIMARY and eni.instance_id:
        check_ecs_state(world.state.ecs(eni.instance_id))
    return eni


def _check_one(named: Sequence[IPAddress], count: int | None, counted: str) -> None:
    if named and count is not None:
        message = f"Addresses and {counted} cannot be used together."
        raise Refusal("InvalidParameter.Conflict", message)
    if not named and count is None:
        raise missing(counted)


def _placeholders_v4(count: int) -> tuple[IPv4Address, ...]:
    return (IPv4Address(0),) * count


def _placeholders_v6(count: int) -> tuple[IPv6Address, ...]:
    return (IPv6Address(0),) * count


def _check_limits(world: World, grown: ENIRecord) -> None:
    if grown.instance_id:
        check_address_limits(world, grown, world.state.ecs(grown.instance_id))
        return
    limit = world.limits.ipv4_per_detached_eni
    if len(grown.ipv4) > limit:
        message = f"A detached ENI can have {limit} IPv4 addresses."
        raise forbidden("InvalidOperation.Ipv4CountExceeded", message)


def _give(world: World, eni: ENIRecord, given: tuple[IPAddress, ...]) -> None:
    delay_s = world.delays.assign_s
    if delay_s > 0:
        addresses = frozenset(given)
        world.state.put(replace(eni, unready=eni.unready | addresses))
        world.later(delay_s, AddressesReady(eni_id=eni.id, addresses=addresses))
    else:
        world.state.put(eni)


class UnassignPrivateIpAddresses(Regional):
    """The parameters."""

    network_interface_id: str
    private_ip_address: tuple[IPv4Address, ...] = ()
    ipv4_prefix: tuple[IPv4Network, ...] = ()


def unassign_private_ip_addresses(world: World, request: UnassignPrivateIpAddresses) -> Answer:
    """Take secondary IPv4 addresses and prefixes from an ENI: if one is not there, none."""
    eni = _settled_eni(world, request.network_interface_id)
    gone, prefixes = request.private_ip_address, request.ipv4_prefix
    if not gone and not prefixes:
        raise missing("PrivateIpAddress.1")
    _check_assigned(eni.ipv4[1:], gone)
    _check_assigned(eni.ipv4_prefixes, prefixes)
    world.state.put(
        replace(
            eni,
            ipv4=tuple(address for address in eni.ipv4 if address not in gone),
            ipv4_prefixes=tuple(one for one in eni.ipv4_prefixes if one not in prefixes),
            unready=eni.unready.difference(gone),
        )
    )
    return {}


class UnassignIpv6Addresses(Regional):
    """The parameters."""

    network_interface_id: str
    ipv6_address: tuple[IPv6Address, ...] = ()
    ipv6_prefix: tuple[IPv6Network, ...] = ()


def unassign_ipv6_addresses(world: World, request: UnassignIpv6Addresses) -> Answer:
    """Take IPv6 addresses and prefixes from an ENI: if one is not there, none."""
    eni = _settled_eni(world, request.network_interface_id)
    gone, prefixes = request.ipv6_address, request.ipv6_prefix
    if not gone and not prefixes:
        raise missing("Ipv6Address.1")
    _check_assigned(eni.ipv6, gone)
    _check_assigned(eni.ipv6_prefixes, prefixes)
    world.state.put(
        replace(
            eni,
            ipv6=tuple(address for address in eni.ipv6 if address not in gone),
            ipv6_prefixes=tuple(one for one in eni.ipv6_prefixes if one not in prefixes),
            unready=eni.unready.difference(gone),
        )
    )
    return {}


def _check_assigned(
    assigned: Sequence[IPAddress | IPNetwork], gone: Sequence[IPAddress | IPNetwork]
) -> None:
    if len(set(gone)) < len(gone):
        raise forbidden("InvalidIp.IpRepeated", "An IP address is specified twice.")
    for address in gone:
        if address not in assigned:
            message = f'The specified IP "{address}" is not assigned on this ENI.'
            raise forbidden("InvalidIp.IpUnassigned", message)


ACTIONS: Actions = {
    "AssignPrivateIpAddresses": Action(
        request=AssignPrivateIpAddresses, run=assign_private_ip_addresses
    ),
    "AssignIpv6Addresses": Action(request=AssignIpv6Addresses, run=assign_ipv6_addresses),
    "UnassignPrivateIpAddresses": Action(
        request=UnassignPrivateIpAddresses, run=unassign_private_ip_addresses
    ),
    "UnassignIpv6Addresses": Action(request=UnassignIpv6Addresses, run=unassign_ipv6_addresses),
}
