"""What else does the cloud know, that only somebody who looks for a fault asks for?

Security group rules, route tables, whose an address is, what our keys may do, and the cloud's
clock. Every call reads, or is refused without effect. Source: OpenAPI ECS 2014-05-26 and
VPC 2016-04-28.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

import aiohttp
import msgspec

from terway.cloud import wire
from terway.cloud.ecs import ECS_VERSION, VPC_VERSION
from terway.cloud.openapi import Caller, Product, endpoint_url
from terway.cloud.query import Value
from terway.model.address import IPAddress, IPNetwork
from terway.model.eni import ENI
from terway.model.errors import TransientError, VpcError
from terway.model.ids import RegionId, SecurityGroupId, VpcId

_NOBODY = "terway-cli-probe-00000000"
# Calls that name things which do not exist: RAM is asked first, so that the refusal tells whether
# the action is allowed, and nothing can come of it.
_PROBES: tuple[tuple[str, dict[str, Value]], ...] = (
    ("DescribeNetworkInterfaces", {"NetworkInterfaceId": (f"eni-{_NOBODY}",)}),
    ("DescribeInstanceTypes", {"InstanceTypes": ("ecs.g7.large",)}),
    (
        "CreateNetworkInterface",
        {"VSwitchId": f"vsw-{_NOBODY}", "SecurityGroupIds": (f"sg-{_NOBODY}",)},
    ),
    (
        "AttachNetworkInterface",
        {"NetworkInterfaceId": f"eni-{_NOBODY}", "InstanceId": f"i-{_NOBODY}"},
    ),
    (
        "DetachNetworkInterface",
        {"NetworkInterfaceId": f"eni-{_NOBODY}", "InstanceId": f"i-{_NOBODY}"},
    ),
    ("DeleteNetworkInterface", {"NetworkInterfaceId": f"eni-{_NOBODY}"}),
    (
        "AssignPrivateIpAddresses",
        {"NetworkInterfaceId": f"eni-{_NOBODY}", "SecondaryPrivateIpAddressCount": 1},
    ),
    (
        "UnassignPrivateIpAddresses",
        {"NetworkInterfaceId": f"eni-{_NOBODY}", "PrivateIpAddress": ("192.0.2.1",)},
    ),
    ("AssignIpv6Addresses", {"NetworkInterfaceId": f"eni-{_NOBODY}", "Ipv6AddressCount": 1}),
    (
        "UnassignIpv6Addresses",
        {"NetworkInterfaceId": f"eni-{_NOBODY}", "Ipv6Address": ("2001:db8::1",)},
    ),
)
_VPC_PROBE = "DescribeVSwitches"
_DENIED = ("Forbidden", "NoPermission", "InvalidAccessKeyId", "SignatureDoesNotMatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """A rule of a security group; `peer` is a range or the id of another group.

    Ports are the first and last; 1 to 65535 when the rule does not name any.
    """

    is_ingress: bool
    protocol: str  # lower case; "all" for any
    first_port: int
    last_port: int
    is_accept: bool
    priority: int  # 1 is looked at first
    peer: IPNetwork | None = None  # None: a group is meant, or a prefix list that we do not read
    peer_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group; `is_inner_open` lets its members talk whatever the rules say."""

    id: SecurityGroupId
    is_inner_open: bool
    rules: tuple[GroupRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcRoute:
    """An entry of a VPC's route table; `next_hop_type` is "local" within the VPC."""

    destination: IPNetwork
    next_hop_type: str
    next_hop_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether our keys may do an action; None when the cloud did not say."""

    action: str
    is_allowed: bool | None
    answer: str


class _Rule(msgspec.Struct, frozen=True, rename="pascal"):
    direction: str = "ingress"
    ip_protocol: str = "ALL"
    port_range: str = "-1/-1"
    policy: str = "Accept"
    priority: str | int = 1
    source_cidr_ip: str = ""
    dest_cidr_ip: str = ""
    source_group_id: str = ""
    dest_group_id: str = ""
    ipv6_source_cidr_ip: str = msgspec.field(default="", name="Ipv6SourceCidrIp")
    ipv6_dest_cidr_ip: str = msgspec.field(default="", name="Ipv6DestCidrIp")


class _Rules(msgspec.Struct, frozen=True, rename="pascal"):
    permission: tuple[_Rule, ...] = ()


class _Group(msgspec.Struct, frozen=True, rename="pascal"):
    inner_access_policy: str = "Accept"
    permissions: _Rules = msgspec.field(default_factory=_Rules)


class _NextHop(msgspec.Struct, frozen=True, rename="pascal"):
    next_hop_type: str = "local"
    next_hop_id: str = ""


class _NextHops(msgspec.Struct, frozen=True, rename="pascal"):
    next_hop: tuple[_NextHop, ...] = ()


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    destination_cidr_block: str
    next_hops: _NextHops = msgspec.field(default_factory=_NextHops)


class _Entries(msgspec.Struct, frozen=True, rename="pascal"):
    route_entry: tuple[_Entry, ...] = ()


class _EntryList(msgspec.Struct, frozen=True, rename="pascal"):
    route_entrys: _Entries = msgspec.field(default_factory=_Entries)
    next_token: str = ""


class _Table(msgspec.Struct, frozen=True, rename="pascal"):
    route_table_id: str
    v_switch_ids: dict[str, list[str]] = msgspec.field(default_factory=dict)


class _Tables(msgspec.Struct, frozen=True, rename="pascal"):
    router_table_list_type: tuple[_Table, ...] = ()


class _TableList(msgspec.Struct, frozen=True, rename="pascal"):
    router_table_list: _Tables = msgspec.field(default_factory=_Tables)


class CloudInspector:
    """The reading calls of a tool, for one region. Raises as `EcsClient` does."""

    def __init__(
        self, openapi: Caller, *, region_id: RegionId, ecs_endpoint: str, vpc_endpoint: str
    ) -> None:
        self._openapi = openapi
        self._region_id = region_id
        self._ecs = Product(endpoint=ecs_endpoint, version=ECS_VERSION)
        self._vpc = Product(endpoint=vpc_endpoint, version=VPC_VERSION)

    async def eni_of_address(self, vpc_id: VpcId, address: IPAddress) -> ENI | None:
        """Return the ENI that has an address, None when none in the VPC has it."""
        name = "PrivateIpAddress" if address.version == 4 else "Ipv6Address"
        parameters: dict[str, Value] = {
            "RegionId": self._region_id,
            "VpcId": vpc_id,
            name: (str(address),),
            "MaxResults": 10,
        }
        page = await self._openapi.call(
            self._ecs, "DescribeNetworkInterfaces", parameters, wire.NetworkInterfacesPage
        )
        found = page.network_interface_sets.network_interface_set
        return wire.parse_eni(found[0]) if found else None

    async def security_group(self, group_id: SecurityGroupId) -> SecurityGroup:
        """Return a security group with the rules of both directions."""
        answer = await self._openapi.call(
            self._ecs,
            "DescribeSecurityGroupAttribute",
            {"RegionId": self._region_id, "SecurityGroupId": group_id, "Direction": "all"},
            _Group,
        )
        return SecurityGroup(
            id=group_id,
            is_inner_open=answer.inner_access_policy.lower() == "accept",
            rules=tuple(map(_parse_rule, answer.permissions.permission)),
        )

    async def routes(self, vpc_id: VpcId, vswitch_id: str) -> tuple[VpcRoute, ...]:
        """Return the entries of the route table that a vSwitch follows."""
        tables = await self._openapi.call(
            self._vpc,
            "DescribeRouteTableList",
            {"RegionId": self._region_id, "VpcId": vpc_id, "PageSize": 50},
            _TableList,
        )
        listed = tables.router_table_list.router_table_list_type
        own = [one for one in listed if vswitch_id in one.v_switch_ids.get("VSwitchId", [])]
        found: list[VpcRoute] = []
        for table in own or listed[:1]:
            found += await self._entries(table.route_table_id)
        return tuple(found)

    async def _entries(self, table_id: str) -> list[VpcRoute]:
        found: list[VpcRoute] = []
        parameters: dict[str, Value] = {
            "RegionId": self._region_id,
            "RouteTableId": table_id,
            "MaxResult": 100,
        }
        while True:
            page = await self._openapi.call(
                self._vpc, "DescribeRouteEntryList", parameters, _EntryList
            )
            found += map(_parse_route, page.route_entrys.route_entry)
            if not page.next_token:
                return found
            parameters = {**parameters, "NextToken": page.next_token}

    async def permissions(self) -> tuple[Permission, ...]:
        """Return which actions of the agent's our keys may do. Changes nothing."""
        found = [await self._probe(self._ecs, action, more) for action, more in _PROBES]
        ours: dict[str, Value] = {"VSwitchId": f"vsw-{_NOBODY}"}
        return (*found, await self._probe(self._vpc, _VPC_PROBE, ours))

    async def _probe(self, product: Product, action: str, more: dict[str, Value]) -> Permission:
        try:
            parameters = {"RegionId": self._region_id, **more}
            await self._openapi.call(product, action, parameters, wire.Done)
        except TransientError as error:
            return Permission(action=action, is_allowed=None, answer=str(error))
        except VpcError as error:
            allowed = not error.code.startswith(_DENIED)
            return Permission(action=action, is_allowed=allowed, answer=error.code)
        return Permission(action=action, is_allowed=True, answer="200")


async def clock_skew_s(
    session: aiohttp.ClientSession, endpoint: str, *, now: datetime | None = None
) -> float:
    """Return how many seconds this machine's clock is ahead of a server's Date header.

    The header has whole seconds. Raises TransientError without an answer or a date.
    """
    url = endpoint_url(endpoint)
    try:
        async with session.get(url) as response:
            date = response.headers.get("Date", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TransientError(f"GET {url}: no answer: {error!r}") from error
    if not date:
        raise TransientError(f"GET {url}: the answer has no Date")
    return ((now or datetime.now(UTC)) - parsedate_to_datetime(date)).total_seconds()


def _parse_rule(raw: _Rule) -> GroupRule:
    is_ingress = raw.direction == "ingress"
    if is_ingress:
        texts, group = (raw.source_cidr_ip, raw.ipv6_source_cidr_ip), raw.source_group_id
    else:
        texts, group = (raw.dest_cidr_ip, raw.ipv6_dest_cidr_ip), raw.dest_group_id
    cidr = next(filter(None, texts), "")
    first, _, last = raw.port_range.partition("/")
    bounded = first not in ("", "-1")
    return GroupRule(
        is_ingress=is_ingress,
        protocol=raw.ip_protocol.lower(),
        first_port=int(first) if bounded else 1,
        last_port=int(last or first) if bounded else 65535,
        is_accept=raw.policy.lower() == "accept",
        priority=int(raw.priority),
        peer=_network(cidr) if cidr else None,
        peer_group=group,
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _parse_route(raw: _Entry) -> VpcRoute:
    hop = raw.next_hops.next_hop[0] if raw.next_hops.next_hop else _NextHop()
    return VpcRoute(
        destination=_network(raw.destination_cidr_block),
        next_hop_type=hop.next_hop_type,
        next_hop_id=hop.next_hop_id,
    )
