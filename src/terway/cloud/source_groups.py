"""Which calls keep security groups that say from where an NLB may be reached?

Every method raises as `terway.cloud.errors` explains; docstrings name what else. Deleting what is
gone is success. Source: OpenAPI ECS 2014-05-26.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

import msgspec

from terway.cloud.balancer_calls import BalancerCalls, in_batches
from terway.cloud.ecs_calls import ECS_VERSION, tag_list
from terway.cloud.openapi import Caller, Product
from terway.cloud.query import Value
from terway.cloud.wire import Done
from terway.model.balancer import SourceGroup, SourceRule, Tags
from terway.model.errors import ConflictError, UsageError
from terway.model.ids import ClientToken, RegionId, SecurityGroupId, VpcId

RULES_PER_CALL = 100
_GONE = "InvalidSecurityGroupId.NotFound"
_IN_USE = "DependencyViolation"


class _Group(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    security_group_id: str


class _GroupList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    security_group: tuple[_Group, ...] = ()


class _Groups(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    security_groups: _GroupList = _GroupList()


class _Permission(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    ip_protocol: str
    port_range: str = "-1/-1"
    policy: str = "Accept"
    priority: str | int = 1
    source_cidr_ip: str = ""
    ipv6_source_cidr_ip: str = msgspec.field(default="", name="Ipv6SourceCidrIp")


class _PermissionList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    permission: tuple[_Permission, ...] = ()


class _Permissions(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    permissions: _PermissionList = _PermissionList()


class SourceGroupClient(BalancerCalls):
    """Security groups of one region, for load balancers."""

    def __init__(self, openapi: Caller, *, region_id: RegionId, ecs_endpoint: str) -> None:
        product = Product(endpoint=ecs_endpoint, version=ECS_VERSION)
        super().__init__(openapi, product, region_id)

    async def find(self, vpc_id: VpcId, tags: Tags) -> SourceGroup | None:
        """Return a group of the VPC with all these tags, and its rules for what comes in."""
        parameters: dict[str, Value] = {"VpcId": vpc_id, "Tag": tag_list(tags)}
        page = await self.call("DescribeSecurityGroups", parameters, _Groups)
        found = page.security_groups.security_group
        if not found:
            return None
        # Of several, which an answer that was lost may leave, always the same.
        group_id = SecurityGroupId(min(one.security_group_id for one in found))
        named: dict[str, Value] = {"SecurityGroupId": group_id, "Direction": "ingress"}
        said = await self.call("DescribeSecurityGroupAttribute", named, _Permissions)
        return SourceGroup(id=group_id, rules=tuple(_rules(said.permissions.permission)))

    async def create(
        self, vpc_id: VpcId, *, name: str, tags: Tags, token: ClientToken
    ) -> SecurityGroupId:
        """Make a group without rules. Safe to repeat with the same `token`."""
        parameters: dict[str, Value] = {
            "VpcId": vpc_id,
            "SecurityGroupName": name,
            "Description": "from where a Service may be reached",
            "Tag": tag_list(tags),
            "ClientToken": token,
        }
        made = await self.call("CreateSecurityGroup", parameters, _Group)
        return SecurityGroupId(made.security_group_id)

    async def add_rules(self, group_id: SecurityGroupId, rules: Iterable[SourceRule]) -> None:
        """Add rules, 100 a call. Safe to repeat."""
        await self._change("AuthorizeSecurityGroup", group_id, rules)

    async def remove_rules(self, group_id: SecurityGroupId, rules: Iterable[SourceRule]) -> None:
        """Remove rules, 100 a call. Safe to repeat."""
        await self._change("RevokeSecurityGroup", group_id, rules)

    async def delete(self, group_id: SecurityGroupId) -> None:
        """Delete a group. Raises ConflictError while something is in it."""
        try:
            await self.call("DeleteSecurityGroup", {"SecurityGroupId": group_id}, Done)
        except UsageError as refusal:
            if refusal.code.startswith(_IN_USE):
                raise ConflictError(str(refusal), code=refusal.code) from refusal
            if refusal.code != _GONE:
                raise

    async def _change(
        self, action: str, group_id: SecurityGroupId, rules: Iterable[SourceRule]
    ) -> None:
        for batch in in_batches(tuple(rules), RULES_PER_CALL):
            permissions = tuple(map(_permission, batch))
            named: dict[str, Value] = {"SecurityGroupId": group_id, "Permissions": permissions}
            await self.call(action, named, Done)


def _permission(rule: SourceRule) -> dict[str, Value]:
    end = "SourceCidrIp" if rule.source.version == 4 else "Ipv6SourceCidrIp"
    return {
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "Policy": "accept" if rule.is_allowed else "drop",
        "Priority": rule.priority,
        end: str(rule.source),
    }


def _rules(said: Iterable[_Permission]) -> Iterator[SourceRule]:
    """Yield the rules about ranges; those about groups are none of ours."""
    for one in said:
        if source := one.source_cidr_ip or one.ipv6_source_cidr_ip:
            yield SourceRule(
                protocol=one.ip_protocol.upper(),
                port_range=one.port_range,
                source=ip_network(source, strict=False),
                is_allowed=one.policy.lower() == "accept",
                priority=int(one.priority),
            )
