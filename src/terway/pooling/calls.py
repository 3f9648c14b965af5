"""How is a command of a pool carried out at the cloud? One call, and the event it ends in."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.ipam.adopt import marker_tags
from terway.ipam.commands import (
    AssignAddresses,
    AttachENI,
    CreateENI,
    DeleteENI,
    DetachENI,
    Observe,
    ObserveVSwitches,
    SetSecurityGroups,
    UnassignAddresses,
    UnassignPrefixes,
)
from terway.ipam.events import (
    Assigned,
    AttachRequested,
    Created,
    Deleted,
    DetachRequested,
    Event,
    Observed,
    PrefixesAssigned,
    PrefixesUnassigned,
    SecurityGroupsSet,
    Unassigned,
    VSwitchesObserved,
)
from terway.ipam.settings import DESCRIPTION, PoolConfig
from terway.ipam.values import AssignIntent, CreateIntent
from terway.model.address import Family, IPAddress, IPNetwork
from terway.model.eni import ENI, ENIStatus
from terway.pooling.ports import CloudPort

Change = (
    CreateENI
    | AssignAddresses
    | UnassignAddresses
    | UnassignPrefixes
    | AttachENI
    | DetachENI
    | DeleteENI
    | SetSecurityGroups
)
Reading = Observe | ObserveVSwitches


class CloudCalls:
    """Carries out what a pool asks of the cloud, each by itself."""

    def __init__(self, config: PoolConfig, cloud: CloudPort, clock: Callable[[], float]) -> None:
        self._config = config
        self._cloud = cloud
        self._clock = clock

    async def carry_out(self, command: Change | Reading) -> Event:
        """Make the call that `command` names and return its event; the port's error goes out."""
        match command:
            case CreateENI() | AssignAddresses():
                return await self._give(command)
            case UnassignAddresses() | UnassignPrefixes():
                return await self._take(command)
            case AttachENI() | DetachENI() | DeleteENI() | SetSecurityGroups():
                return await self._move(command)
            case Observe(detached=detached):
                return await self._observe(detached)
            case ObserveVSwitches(ids=ids):
                return VSwitchesObserved(vswitches=await self._cloud.describe_vswitches(ids))

    async def _give(self, command: CreateENI | AssignAddresses) -> Event:
        match command:
            case CreateENI(intent=intent):
                return Created(token=intent.token, eni=await self._create(intent))
            case AssignAddresses(intent=intent) if intent.is_prefix:
                networks = await self._assign_prefixes(intent)
                return PrefixesAssigned(token=intent.token, networks=networks)
            case AssignAddresses(intent=intent):
                return Assigned(token=intent.token, addresses=await self._assign(intent))

    async def _take(self, command: UnassignAddresses | UnassignPrefixes) -> Event:
        match command:
            case UnassignAddresses():
                await self._unassign(command)
                return Unassigned(eni_id=command.eni_id, addresses=command.addresses)
            case UnassignPrefixes():
                await self._unassign_prefixes(command)
                return PrefixesUnassigned(eni_id=command.eni_id, networks=command.networks)

    async def _move(self, command: AttachENI | DetachENI | DeleteENI | SetSecurityGroups) -> Event:
        match command:
            case AttachENI(eni_id=eni_id):
                await self._cloud.attach_eni(eni_id, self._config.instance_id)
                return AttachRequested(eni_id=eni_id)
            case DetachENI(eni_id=eni_id):
                await self._cloud.detach_eni(eni_id, self._config.instance_id)
                return DetachRequested(eni_id=eni_id)
            case DeleteENI(eni_id=eni_id):
                await self._cloud.delete_eni(eni_id)
                return Deleted(eni_id=eni_id)
            case SetSecurityGroups(eni_id=eni_id, security_group_ids=ids):
                await self._cloud.set_security_groups(eni_id, ids)
                return SecurityGroupsSet(eni_id=eni_id, security_group_ids=ids)

    async def _create(self, intent: CreateIntent) -> ENI:
        return await self._cloud.create_eni(
            vswitch_id=intent.vswitch_id,
            security_group_ids=intent.security_group_ids,
            ipv4_count=intent.ipv4_count,
            ipv6_count=intent.ipv6_count,
            ipv4_prefixes=intent.ipv4_prefixes,
            ipv6_prefixes=intent.ipv6_prefixes,
            is_erdma=intent.is_erdma,
            is_trunk=intent.is_trunk,
            tags=intent.tags,
            description=DESCRIPTION,
            resource_group_id=intent.resource_group_id,
            token=intent.token,
        )

    async def _assign(self, intent: AssignIntent) -> tuple[IPAddress, ...]:
        if intent.family is Family.V4:
            return await self._cloud.assign_ipv4(intent.eni_id, intent.count, token=intent.token)
        return await self._cloud.assign_ipv6(intent.eni_id, intent.count, token=intent.token)

    async def _assign_prefixes(self, intent: AssignIntent) -> tuple[IPNetwork, ...]:
        eni_id, count, token = intent.eni_id, intent.count, intent.token
        if intent.family is Family.V4:
            return await self._cloud.assign_ipv4_prefixes(eni_id, count, token=token)
        return await self._cloud.assign_ipv6_prefixes(eni_id, count, token=token)

    async def _unassign_prefixes(self, command: UnassignPrefixes) -> None:
        v4 = tuple(one for one in command.networks if isinstance(one, IPv4Network))
        v6 = tuple(one for one in command.networks if isinstance(one, IPv6Network))
        if v4:
            await self._cloud.unassign_ipv4_prefixes(command.eni_id, v4)
        if v6:
            await self._cloud.unassign_ipv6_prefixes(command.eni_id, v6)

    async def _unassign(self, command: UnassignAddresses) -> None:
        v4 = tuple(ip for ip in command.addresses if isinstance(ip, IPv4Address))
        v6 = tuple(ip for ip in command.addresses if isinstance(ip, IPv6Address))
        if v4:
            await self._cloud.unassign_ipv4(command.eni_id, v4)
        if v6:
            await self._cloud.unassign_ipv6(command.eni_id, v6)

    async def _observe(self, detached: bool) -> Observed:
        asked_at = self._clock()
        attached = await self._cloud.describe_enis(instance_id=self._config.instance_id)
        if not detached:
            return Observed(asked_at=asked_at, attached=attached)
        available = await self._cloud.describe_enis(
            status=ENIStatus.AVAILABLE, tags=marker_tags(self._config)
        )
        return Observed(asked_at=asked_at, attached=attached, detached=available)
