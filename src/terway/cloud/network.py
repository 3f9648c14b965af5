"""Which calls make a cluster's network: VPC, vSwitches, a security group?

Each creation is safe to repeat with the same token. Errors as `terway.cloud.errors` explains.
Source: OpenAPI VPC 2016-04-28 (CreateVpc, CreateVSwitch, Describe…) and ECS 2014-05-26
(CreateSecurityGroup, AuthorizeSecurityGroup).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

import msgspec

from terway.cloud import wire
from terway.cloud.ecs import ECS_VERSION, VPC_VERSION
from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.model.address import IPNetwork
from terway.model.ids import (
    ClientToken,
    RegionId,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

AVAILABLE = "Available"
PAGE_SIZE = 50  # the most that DescribeVpcs and DescribeVSwitches give at once

Answer = TypeVar("Answer")
Page = TypeVar("Page", "_Vpcs", "_VSwitches", "_Groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVpc:
    """A VPC, as far as planning goes."""

    id: VpcId
    name: str
    cidr: IPv4Network
    ipv6_cidr: IPv6Network | None
    is_available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVSwitch:
    """A vSwitch of a VPC."""

    id: VSwitchId
    name: str
    zone_id: ZoneId
    cidr: IPv4Network
    has_ipv6: bool
    is_available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGroup:
    """A security group; `open_to` are the ranges from which everything is let in."""

    id: SecurityGroupId
    name: str
    open_to: tuple[IPNetwork, ...]


class _Vpc(msgspec.Struct, frozen=True, rename="pascal"):
    vpc_id: str
    cidr_block: str
    vpc_name: str = ""
    ipv6_cidr_block: str = ""
    status: str = AVAILABLE


class _VpcList(msgspec.Struct, frozen=True, rename="pascal"):
    vpc: tuple[_Vpc, ...] = ()


class _Vpcs(msgspec.Struct, frozen=True, rename="pascal"):
    vpcs: _VpcList = msgspec.field(default_factory=_VpcList)
    total_count: int = 0


class _VSwitch(msgspec.Struct, frozen=True, rename="pascal"):
    v_switch_id: str
    zone_id: str
    cidr_block: str
    v_switch_name: str = ""
    ipv6_cidr_block: str = ""
    status: str = AVAILABLE


class _VSwitchList(msgspec.Struct, frozen=True, rename="pascal"):
    v_switch: tuple[_VSwitch, ...] = ()


class _VSwitches(msgspec.Struct, frozen=True, rename="pascal"):
    v_switches: _VSwitchList = msgspec.field(default_factory=_VSwitchList)
    total_count: int = 0


class _Group(msgspec.Struct, frozen=True, rename="pascal"):
    security_group_id: str
    security_group_name: str = ""


class _GroupList(msgspec.Struct, frozen=True, rename="pascal"):
    security_group: tuple[_Group, ...] = ()


class _Groups(msgspec.Struct, frozen=True, rename="pascal"):
    security_groups: _GroupList = msgspec.field(default_factory=_GroupList)
    total_count: int = 0


class _Rule(msgspec.Struct, frozen=True, rename="pascal"):
    direction: str = "ingress"
    ip_protocol: str = "ALL"
    policy: str = "Accept"
    source_cidr_ip: str = ""
    ipv6_source_cidr_ip: str = msgspec.field(default="", name="Ipv6SourceCidrIp")


class _RuleList(msgspec.Struct, frozen=True, rename="pascal"):
    permission: tuple[_Rule, ...] = ()


class _Rules(msgspec.Struct, frozen=True, rename="pascal"):
    permissions: _RuleList = msgspec.field(default_factory=_RuleList)


class _NewVpc(msgspec.Struct, frozen=True, rename="pascal"):
    vpc_id: str


class _NewVSwitch(msgspec.Struct, frozen=True, rename="pascal"):
    v_switch_id: str


class _NewGroup(msgspec.Struct, frozen=True, rename="pascal"):
    security_group_id: str


class NetworkClient:
    """The calls that make a network, for one region."""

    def __init__(
        self, openapi: Caller, *, region_id: RegionId, ecs_endpoint: str, vpc_endpoint: str
    ) -> None:
        self._openapi = openapi
        self._region_id = region_id
        self._ecs = Product(endpoint=ecs_endpoint, version=ECS_VERSION)
        self._vpc = Product(endpoint=vpc_endpoint, version=VPC_VERSION)

    async def vpcs(self, tag: tuple[str, str]) -> tuple[FoundVpc, ...]:
        """Return the VPCs with `tag`."""
        pages = self._pages(self._vpc, "DescribeVpcs", {"Tag": _tags(tag)}, _Vpcs)
        return tuple([_vpc(one) async for page in pages for one in page.vpcs.vpc])

    async def vpc(self, vpc_id: VpcId) -> FoundVpc | None:
        """Return a VPC, None when there is no such one."""
        pages = self._pages(self._vpc, "DescribeVpcs", {"VpcId": vpc_id}, _Vpcs)
        found = [_vpc(one) async for page in pages for one in page.vpcs.vpc]
        return found[0] if found else None

    async def vswitches(self, vpc_id: VpcId) -> tuple[FoundVSwitch, ...]:
        """Return all vSwitches of a VPC, whoever made them."""
        pages = self._pages(self._vpc, "DescribeVSwitches", {"VpcId": vpc_id}, _VSwitches)
        return tuple([_vswitch(one) async for page in pages for one in page.v_switches.v_switch])

    async def groups(self, vpc_id: VpcId, tag: tuple[str, str]) -> tuple[FoundGroup, ...]:
        """Return the security groups of a VPC with `tag`, with who is let in."""
        parameters: dict[str, Value] = {"VpcId": vpc_id, "Tag": _tags(tag)}
        pages = self._pages(self._ecs, "DescribeSecurityGroups", parameters, _Groups)
        found = [one async for page in pages for one in page.security_groups.security_group]
        return tuple([await self._group(one) for one in found])

    async def group_ids(self, vpc_id: VpcId) -> frozenset[SecurityGroupId]:
        """Return all security groups of a VPC, whoever made them."""
        pages = self._pages(self._ecs, "DescribeSecurityGroups", {"VpcId": vpc_id}, _Groups)
        found = [one async for page in pages for one in page.security_groups.security_group]
        return frozenset(SecurityGroupId(one.security_group_id) for one in found)

    async def _group(self, group: _Group) -> FoundGroup:
        parameters: dict[str, Value] = {
            "SecurityGroupId": group.security_group_id,
            "Direction": "ingress",
        }
        rules = await self._call(self._ecs, "DescribeSecurityGroupAttribute", parameters, _Rules)
        return FoundGroup(
            id=SecurityGroupId(group.security_group_id),
            name=group.security_group_name,
            open_to=tuple(
                ip_network(one.source_cidr_ip or one.ipv6_source_cidr_ip)
                for one in rules.permissions.permission
                if _lets_all_in(one)
            ),
        )

    async def create_vpc(
        self,
        *,
        name: str,
        cidr: IPv4Network,
        has_ipv6: bool,
        tag: tuple[str, str],
        token: ClientToken,
    ) -> VpcId:
        """Begin to make a VPC; it is Available some seconds later."""
        parameters: dict[str, Value] = {
            "VpcName": name,
            "CidrBlock": str(cidr),
            "EnableIpv6": has_ipv6,
            "Tag": _tags(tag),
            "ClientToken": token,
        }
        return VpcId((await self._call(self._vpc, "CreateVpc", parameters, _NewVpc)).vpc_id)

    async def create_vswitch(
        self,
        *,
        vpc_id: VpcId,
        name: str,
        zone_id: ZoneId,
        cidr: IPv4Network,
        ipv6_number: int | None,
        tag: tuple[str, str],
        token: ClientToken,
    ) -> VSwitchId:
        """Begin to make a vSwitch; `ipv6_number` is the last byte of its /64's prefix.

        Raises ConflictError while the VPC is not Available.
        """
        parameters: dict[str, Value] = {
            "VpcId": vpc_id,
            "VSwitchName": name,
            "ZoneId": zone_id,
            "CidrBlock": str(cidr),
            "Ipv6CidrBlock": ipv6_number,
            "Tag": _tags(tag),
            "ClientToken": token,
        }
        answer = await self._call(self._vpc, "CreateVSwitch", parameters, _NewVSwitch)
        return VSwitchId(answer.v_switch_id)

    async def create_group(
        self, *, vpc_id: VpcId, name: str, tag: tuple[str, str], token: ClientToken
    ) -> SecurityGroupId:
        """Make a security group that lets its members talk, and nobody else in."""
        parameters: dict[str, Value] = {
            "VpcId": vpc_id,
            "SecurityGroupName": name,
            "Tag": _tags(tag),
            "ClientToken": token,
        }
        answer = await self._call(self._ecs, "CreateSecurityGroup", parameters, _NewGroup)
        return SecurityGroupId(answer.security_group_id)

    async def let_in(self, group_id: SecurityGroupId, source: IPNetwork) -> None:
        """Let everything from `source` into a group; what is let in already, is."""
        name = "SourceCidrIp" if isinstance(source, IPv4Network) else "Ipv6SourceCidrIp"
        rule: dict[str, Value] = {
            "IpProtocol": "ALL",
            "PortRange": "-1/-1",
            "Policy": "accept",
            "Description": "the VPC's own nodes and pods",
            name: str(source),
        }
        parameters: dict[str, Value] = {"SecurityGroupId": group_id, "Permissions": (rule,)}
        await self._call(self._ecs, "AuthorizeSecurityGroup", parameters, wire.Done)

    async def _pages(
        self, product: Product, action: str, parameters: dict[str, Value], kind: type[Page]
    ) -> AsyncIterator[Page]:
        number = 1
        while True:
            paging: dict[str, Value] = {"PageNumber": number, "PageSize": PAGE_SIZE}
            page = await self._call(product, action, {**parameters, **paging}, kind)
            yield page
            if number * PAGE_SIZE >= page.total_count:
                return
            number += 1

    async def _call(
        self, product: Product, action: str, parameters: dict[str, Value], answer: type[Answer]
    ) -> Answer:
        return await self._openapi.call(
            product, action, {"RegionId": self._region_id, **parameters}, answer
        )


def _tags(tag: tuple[str, str]) -> Value:
    return ({"Key": tag[0], "Value": tag[1]},)


def _vpc(one: _Vpc) -> FoundVpc:
    return FoundVpc(
        id=VpcId(one.vpc_id),
        name=one.vpc_name,
        cidr=IPv4Network(one.cidr_block),
        ipv6_cidr=IPv6Network(one.ipv6_cidr_block) if one.ipv6_cidr_block else None,
        is_available=one.status == AVAILABLE,
    )


def _vswitch(one: _VSwitch) -> FoundVSwitch:
    return FoundVSwitch(
        id=VSwitchId(one.v_switch_id),
        name=one.v_switch_name,
        zone_id=ZoneId(one.zone_id),
        cidr=IPv4Network(one.cidr_block),
        has_ipv6=bool(one.ipv6_cidr_block),
        is_available=one.status == AVAILABLE,
    )


def _lets_all_in(rule: _Rule) -> bool:
    is_open = rule.policy.lower() == "accept" and rule.ip_protocol.upper() == "ALL"
    return is_open and bool(rule.source_cidr_ip or rule.ipv6_source_cidr_ip)
