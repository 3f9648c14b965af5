"""ECS: security groups, without their rules.

Source: OpenAPI ECS 2014-05-26, the actions' own pages.
"""

from __future__ import annotations

from dataclasses import replace

from terway.lab.cloud import views
from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.eni_queries import has_tags
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.paging import page_either_way
from terway.lab.cloud.records import GroupRecord
from terway.lab.cloud.refusal import forbidden, invalid, missing
from terway.lab.cloud.requests import Regional, Tag, json_list
from terway.lab.cloud.world import World
from terway.model.ids import SecurityGroupId

MAX_GROUPS_PER_PAGE = 100


class CreateSecurityGroup(Regional):
    """The parameters. The classic network, which has groups without a VPC, is not emulated."""

    vpc_id: str = ""
    security_group_name: str = ""
    security_group_type: str = "normal"
    description: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_security_group(world: World, request: CreateSecurityGroup) -> Answer:
    """Make an empty security group: ingress dropped, egress accepted (normal type)."""
    if not request.vpc_id:
        raise missing("VpcId")
    if request.security_group_type not in ("normal", "enterprise"):
        raise invalid("SecurityGroupType", "it must be normal or enterprise")
    is_enterprise = request.security_group_type == "enterprise"
    group = GroupRecord(
        id=SecurityGroupId(world.ids.new("sg")),
        serial=world.ids.serial(),
        vpc_id=world.state.vpc(request.vpc_id).id,
        name=request.security_group_name,
        description=request.description,
        is_enterprise=is_enterprise,
        inner_access=not is_enterprise,
        created_at=world.now(),
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.put(group)
    return {"SecurityGroupId": group.id}


class DescribeSecurityGroups(Regional):
    """The parameters."""

    vpc_id: str = ""
    security_group_id: str = ""
    security_group_ids: str = "[]"
    security_group_name: str = ""
    security_group_type: str = ""
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    page_number: int = 1
    page_size: int = 10
    max_results: int | None = None
    next_token: str = ""


def describe_security_groups(world: World, request: DescribeSecurityGroups) -> Answer:
    """List security groups by page number, or by token."""
    ids = json_list("SecurityGroupIds", request.security_group_ids)
    found = [group for group in world.state.groups.values() if _matches(world, group, request, ids)]
    page, paging = page_either_way(
        found,
        number=request.page_number,
        size=request.page_size,
        max_results=request.max_results,
        token=request.next_token,
        most=MAX_GROUPS_PER_PAGE,
    )
    return {
        "RegionId": world.place.region_id,
        "SecurityGroups": {
            "SecurityGroup": [views.described_group(world, group) for group in page]
        },
        **paging,
    }


def _matches(
    world: World, group: GroupRecord, request: DescribeSecurityGroups, ids: list[str]
) -> bool:
    shown = views.described_group(world, group)
    equal = (
        (request.vpc_id, group.vpc_id),
        (request.security_group_id, group.id),
        (request.security_group_name, group.name),
        (request.security_group_type, shown["SecurityGroupType"]),
        (request.resource_group_id, group.resource_group_id),
    )
    return (
        all(not wanted or wanted == value for wanted, value in equal)
        and (not ids or group.id in ids)
        and has_tags(group.tags, request.tag)
    )


class DeleteSecurityGroup(Regional):
    """The parameters."""

    security_group_id: str


def delete_security_group(world: World, request: DeleteSecurityGroup) -> Answer:
    """Delete a security group that nothing is in and no other group's rule names."""
    group = world.state.group(request.security_group_id)
    nlbs = world.state.balancing.nlbs.values()
    has_nlb = any(group.id in one.security_group_ids for one in nlbs)
    if has_nlb or world.state.count_members(group.id):
        message = f"There is still instance(s) in the specified security group {group.id}."
        raise forbidden("DependencyViolation", message)
    others = (other for other in world.state.groups.values() if other.id != group.id)
    if any(rule.peer == group.id for other in others for rule in other.rules):
        message = f"The security group {group.id} is authorized in another security group."
        raise forbidden("DependencyViolation", message)
    world.state.remove(group)
    return {}


class ModifySecurityGroupPolicy(Regional):
    """The parameters."""

    security_group_id: str
    inner_access_policy: str
    client_token: str = ""


def modify_security_group_policy(world: World, request: ModifySecurityGroupPolicy) -> Answer:
    """Let the members of a normal group reach each other, or not."""
    group = world.state.group(request.security_group_id)
    policy = request.inner_access_policy.lower()
    if policy not in ("accept", "drop"):
        raise invalid("InnerAccessPolicy", "it must be Accept or Drop")
    if group.is_enterprise:
        message = "The inner access policy of an enterprise security group cannot be changed."
        raise forbidden("InvalidOperation.NotSupportEnterpriseGroup", message)
    world.state.put(replace(group, inner_access=policy == "accept"))
    return {}


ACTIONS: Actions = {
    "CreateSecurityGroup": Action(request=CreateSecurityGroup, run=create_security_group),
    "DescribeSecurityGroups": Action(request=DescribeSecurityGroups, run=describe_security_groups),
    "DeleteSecurityGroup": Action(request=DeleteSecurityGroup, run=delete_security_group),
    "ModifySecurityGroupPolicy": Action(
        request=ModifySecurityGroupPolicy, run=modify_security_group_policy
    ),
}
