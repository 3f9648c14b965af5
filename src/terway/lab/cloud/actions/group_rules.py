"""ECS: the rules of security groups.

A rule is given flat (`IpProtocol=…`) or in a list (`Permissions.1.IpProtocol=…`). To authorize what
is already there, or revoke what is not, succeeds and changes nothing.
Source: OpenAPI ECS 2014-05-26, Authorize-, Revoke- and DescribeSecurityGroupAttribute.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.records import GroupRecord, RuleRecord
from terway.lab.cloud.refusal import Refusal, forbidden, invalid, not_found, unsupported
from terway.lab.cloud.requests import Regional, Request
from terway.lab.cloud.world import World, utc_seconds
from terway.lab.vpc.state import Direction
from terway.model.address import IPNetwork
from terway.model.ids import SecurityGroupId

PROTOCOLS = {name.upper(): name for name in ("TCP", "UDP", "ICMP", "ICMPv6", "GRE", "ALL")}
MAX_PERMISSIONS = 100
ALL_PORTS = "-1/-1"


class Permission(Request, kw_only=True):
    """One rule of a request, for either direction; ends that a direction lacks are refused."""

    ip_protocol: str = ""
    port_range: str = ""
    policy: str = "accept"
    priority: int = 1
    description: str = ""
    nic_type: str = "intranet"
    source_cidr_ip: str = ""
    ipv6_source_cidr_ip: str = ""
    dest_cidr_ip: str = ""
    ipv6_dest_cidr_ip: str = ""


class IngressPermission(Permission, kw_only=True):
    """A rule for what comes in."""

    source_group_id: str = ""


class EgressPermission(Permission, kw_only=True):
    """A rule for what goes out."""

    dest_group_id: str = ""


class AuthorizeSecurityGroup(IngressPermission, kw_only=True):
    """The parameters."""

    security_group_id: str
    permissions: tuple[IngressPermission, ...] = ()
    client_token: str = ""


class AuthorizeSecurityGroupEgress(EgressPermission, kw_only=True):
    """The parameters."""

    security_group_id: str
    permissions: tuple[EgressPermission, ...] = ()
    client_token: str = ""


class RevokeSecurityGroup(AuthorizeSecurityGroup, kw_only=True):
    """The parameters."""

    security_group_rule_id: tuple[str, ...] = ()


class RevokeSecurityGroupEgress(AuthorizeSecurityGroupEgress, kw_only=True):
    """The parameters."""

    security_group_rule_id: tuple[str, ...] = ()


Authorize = AuthorizeSecurityGroup | AuthorizeSecurityGroupEgress
Revoke = RevokeSecurityGroup | RevokeSecurityGroupEgress


def authorize(direction: Direction, world: World, request: Authorize) -> Answer:
    """Add rules to a group: all of them, or none."""
    group = world.state.group(request.security_group_id)
    rules = group.rules
    for rule in _wanted(world, group, direction, request):
        if not any(rule.matches(present) for present in rules):
            rules = (*rules, replace(rule, id=world.ids.new("sgr")))
    limit = world.limits.rules_per_group
    if len(rules) > limit:
        message = f"A security group can have {limit} rules."
        raise forbidden("AuthorizationLimitExceed", message)
    world.state.put(replace(group, rules=rules))
    return {}


def revoke(direction: Direction, world: World, request: Revoke) -> Answer:
    """Remove the rules with the given ids, or those that say the same as the given ones."""
    group = world.state.group(request.security_group_id)
    by_id = request.security_group_rule_id
    gone = () if by_id else _wanted(world, group, direction, request)
    left = tuple(
        rule
        for rule in group.rules
        if rule.direction is not direction
        or (rule.id not in by_id and not any(rule.matches(other) for other in gone))
    )
    world.state.put(replace(group, rules=left))
    return {}


def _wanted(
    world: World, group: GroupRecord, direction: Direction, request: Authorize
) -> list[RuleRecord]:
    permissions: Sequence[Permission] = request.permissions or (request,)
    if len(permissions) > MAX_PERMISSIONS:
        raise invalid("Permissions.N", f"at most {MAX_PERMISSIONS} at once")
    return [_rule(world, group, direction, permission) for permission in permissions]


def _rule(world: World, group: GroupRecord, direction: Direction, wanted: Permission) -> RuleRecord:
    protocol = PROTOCOLS.get(wanted.ip_protocol.upper())
    if protocol is None:
        message = f"IpProtocol must be one of {', '.join(PROTOCOLS.values())}."
        raise Refusal("InvalidIpProtocol.ValueNotSupported", message)
    if wanted.policy.lower() not in ("accept", "drop"):
        raise Refusal("InvalidPolicy.Malformed", 'The specified parameter "Policy" is not valid.')
    if not 1 <= wanted.priority <= 100:
        raise Refusal("InvalidPriority.ValueNotSupported", "Priority must be in 1 to 100.")
    if wanted.nic_type not in ("intranet", "internet"):
        raise Refusal("InvalidNicType.ValueNotSupported", "The specified NicType does not exist.")
    return RuleRecord(
        id="",
        direction=direction,
        accept=wanted.policy.lower() == "accept",
        priority=wanted.priority,
        protocol=protocol,
        port_range=_port_range(protocol, wanted.port_range),
        peer=_peer(world, group, direction, wanted),
        description=wanted.description,
        created_at=world.now(),
    )


def _port_range(protocol: str, text: str) -> str:
    if protocol not in ("TCP", "UDP"):
        if text not in ("", ALL_PORTS):
            message = f"PortRange of {protocol} must be {ALL_PORTS}."
            raise Refusal("OperationDenied", message)
        return ALL_PORTS
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= 65535:
        message = 'The specified parameter "PortRange" is not valid: two ports as in 22/80.'
        raise Refusal("InvalidIpPortRange.Malformed", message)
    return text


def _peer(
    world: World, group: GroupRecord, direction: Direction, wanted: Permission
) -> IPNetwork | SecurityGroupId:
    sources = (wanted.source_cidr_ip, wanted.ipv6_source_cidr_ip)
    destinations = (wanted.dest_cidr_ip, wanted.ipv6_dest_cidr_ip)
    is_ingress = direction is Direction.INGRESS
    cidrs, other = (sources, destinations) if is_ingress else (destinations, sources)
    if any(other):
        name = f"a second end ({', '.join(filter(None, other))})"
        raise unsupported("security group rules", name)
    own = (*cidrs, _group_of(wanted))
    given = [text for text in own if text]
    if len(given) != 1:
        name = "SourceCidrIp, Ipv6SourceCidrIp or SourceGroupId"
        name = name if is_ingress else name.replace("Source", "Dest")
        raise Refusal("MissingParameter", f"Exactly one of {name} must be given.")
    if own[2]:
        return _peer_group(world, group, own[2])
    return _cidr(given[0], version=4 if own[0] else 6)


def _group_of(wanted: Permission) -> str:
    match wanted:
        case IngressPermission():
            return wanted.source_group_id
        case EgressPermission():
            return wanted.dest_group_id
        case _:
            return ""


def _peer_group(world: World, group: GroupRecord, peer_id: str) -> SecurityGroupId:
    if peer_id not in world.state.groups:
        raise not_found("SourceGroupId", peer_id)
    peer = world.state.groups[peer_id]
    if peer.vpc_id != group.vpc_id:
        message = "Specified security group and source group are not in the same VPC."
        raise Refusal("InvalidSourceGroupId.Mismatch", message)
    return peer.id


def _cidr(text: str, *, version: int) -> IPNetwork:
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise Refusal("InvalidSourceCidrIp.Malformed", f"{text} is not a CIDR.") from error
    if network.version != version:
        raise Refusal("InvalidSourceCidrIp.Malformed", f"{text} is not an IPv{version} CIDR.")
    return network


class DescribeSecurityGroupAttribute(Regional):
    """The parameters."""

    security_group_id: str
    direction: str = "all"
    nic_type: str = "intranet"


def describe_security_group_attribute(
    world: World, request: DescribeSecurityGroupAttribute
) -> Answer:
    """Describe a group and its rules of a direction."""
    group = world.state.group(request.security_group_id)
    if request.direction not in ("all", "ingress", "egress"):
        raise invalid("Direction", "it must be all, ingress or egress")
    shown = [rule for rule in group.rules if request.direction in ("all", rule.direction.value)]
    return {
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "RegionId": world.place.region_id,
        "InnerAccessPolicy": "Accept" if group.inner_access else "Drop",
        "Permissions": {"Permission": [_described(rule) for rule in shown]},
        "NextToken": "",
    }


def _described(rule: RuleRecord) -> dict[str, Any]:
    end = "Source" if rule.direction is Direction.INGRESS else "Dest"
    peers = {f"{end}CidrIp": "", f"Ipv6{end}CidrIp": "", f"{end}GroupId": ""}
    if isinstance(rule.peer, str):
        peers[f"{end}GroupId"] = rule.peer
    else:
        name = f"{end}CidrIp" if rule.peer.version == 4 else f"Ipv6{end}CidrIp"
        peers[name] = str(rule.peer)
    return {
        "SecurityGroupRuleId": rule.id,
        "Direction": rule.direction.value,
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "Policy": "Accept" if rule.accept else "Drop",
        "Priority": str(rule.priority),
        "NicType": "intranet",
        "Description": rule.description,
        "CreateTime": utc_seconds(rule.created_at),
        **peers,
    }


def _authorize_ingress(world: World, request: AuthorizeSecurityGroup) -> Answer:
    return authorize(Direction.INGRESS, world, request)


def _authorize_egress(world: World, request: AuthorizeSecurityGroupEgress) -> Answer:
    return authorize(Direction.EGRESS, world, request)


def _revoke_ingress(world: World, request: RevokeSecurityGroup) -> Answer:
    return revoke(Direction.INGRESS, world, request)


def _revoke_egress(world: World, request: RevokeSecurityGroupEgress) -> Answer:
    return revoke(Direction.EGRESS, world, request)


ACTIONS: Actions = {
    "AuthorizeSecurityGroup": Action(request=AuthorizeSecurityGroup, run=_authorize_ingress),
    "AuthorizeSecurityGroupEgress": Action(
        request=AuthorizeSecurityGroupEgress, run=_authorize_egress
    ),
    "RevokeSecurityGroup": Action(request=RevokeSecurityGroup, run=_revoke_ingress),
    "RevokeSecurityGroupEgress": Action(request=RevokeSecurityGroupEgress, run=_revoke_egress),
    "DescribeSecurityGroupAttribute": Action(
        request=DescribeSecurityGroupAttribute, run=describe_security_group_attribute
    ),
}
