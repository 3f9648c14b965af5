"""How are addresses and prefixes given to ENIs, and taken from them?

Every method that gives is safe to repeat with the same token; to take what is gone is success.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.cloud import wire
from terway.cloud.ecs_calls import ENI_GONE, EcsCalls
from terway.cloud.query import Value
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENI
from terway.model.errors import ConflictError
from terway.model.ids import ClientToken, ENIId

_ADDRESS_GONE = "InvalidIp.IpUnassigned"


class AddressCalls(EcsCalls):
    """The calls about an ENI's addresses and prefixes."""

    async def assign_ipv4(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Address, ...]:
        """Give `count` more secondary addresses to an ENI and return them.

        Safe to repeat with the same `token`. If cancelled, the addresses may have been given all
        the same: the next reading of the ENI shows them.

        Raises CapacityError when the vSwitch is out of addresses or the ENI is full.
        """
        answer = await self.call_ecs(
            "AssignPrivateIpAddresses",
            {
                "NetworkInterfaceId": eni_id,
                "SecondaryPrivateIpAddressCount": count,
                "ClientToken": token,
            },
            wire.AssignedIPv4,
        )
        given = answer.assigned_private_ip_addresses_set.private_ip_set.private_ip_address
        return tuple(map(IPv4Address, given))

    async def assign_ipv6(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Address, ...]:
        """Give `count` (at most 10) more IPv6 addresses to an ENI; as `assign_ipv4` else."""
        answer = await self.call_ecs(
            "AssignIpv6Addresses",
            {"NetworkInterfaceId": eni_id, "Ipv6AddressCount": count, "ClientToken": token},
            wire.AssignedIPv6,
        )
        return tuple(map(IPv6Address, answer.ipv6_sets.ipv6_address))

    async def assign_ipv4_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Network, ...]:
        """Give an ENI `count` (at most 10) more /28 ranges; as `assign_ipv4` else.

        Each takes the room of one address on the ENI, and 16 whole addresses of the vSwitch.
        """
        answer = await self.call_ecs(
            "AssignPrivateIpAddresses",
            {"NetworkInterfaceId": eni_id, "Ipv4PrefixCount": count, "ClientToken": token},
            wire.AssignedIPv4,
        )
        given = answer.assigned_private_ip_addresses_set.ipv4_prefix_set.ipv4_prefixes
        return tuple(map(IPv4Network, given))

    async def assign_ipv6_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Network, ...]:
        """Give an ENI `count` (at most 10) more /80 ranges; as `assign_ipv4` else."""
        answer = await self.call_ecs(
            "AssignIpv6Addresses",
            {"NetworkInterfaceId": eni_id, "Ipv6PrefixCount": count, "ClientToken": token},
            wire.AssignedIPv6,
        )
        return tuple(map(IPv6Network, answer.ipv6_prefix_sets.ipv6_prefix))

    async def unassign_ipv4_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv4Network]) -> None:
        """Take /28 ranges from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignPrivateIpAddresses", "Ipv4Prefix", eni_id, prefixes)

    async def unassign_ipv6_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv6Network]) -> None:
        """Take /80 ranges from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignIpv6Addresses", "Ipv6Prefix", eni_id, prefixes)

    async def unassign_ipv4(self, eni_id: ENIId, addresses: Iterable[IPv4Address]) -> None:
        """Take secondary addresses from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignPrivateIpAddresses", "PrivateIpAddress", eni_id, addresses)

    async def unassign_ipv6(self, eni_id: ENIId, addresses: Iterable[IPv6Address]) -> None:
        """Take IPv6 addresses from an ENI; those that are gone already count as taken."""
        await self._unassign("UnassignIpv6Addresses", "Ipv6Address", eni_id, addresses)

    async def _unassign(
        self, action: str, name: str, eni_id: ENIId, things: Iterable[IPAddress | IPNetwork]
    ) -> None:
        wanted = tuple(things)
        try:
            await self._unassign_all(action, name, eni_id, wanted)
        except ConflictError as refusal:
            if refusal.code != _ADDRESS_GONE:
                raise
            # One address that is gone fails the call for all: take what the ENI still has.
            found = await self.describe_enis(eni_ids=(eni_id,))
            held = {one for eni in found for one in _held(eni)}
            left = tuple(one for one in wanted if one in held)
            await self._unassign_all(action, name, eni_id, left)

    async def _unassign_all(
        self, action: str, name: str, eni_id: ENIId, things: Sequence[IPAddress | IPNetwork]
    ) -> None:
        if not things:
            return
        parameters: dict[str, Value] = {
            "NetworkInterfaceId": eni_id,
            name: tuple(map(str, things)),
        }
        await self.call_until_gone(action, parameters, gone=(ENI_GONE,))


def _held(eni: ENI) -> tuple[IPAddress | IPNetwork, ...]:
    return *eni.ipv4, *eni.ipv6, *eni.ipv4_prefixes, *eni.ipv6_prefixes
