"""NLB: the security groups of instances.

Source: OpenAPI NLB 2022-04-30, LoadBalancerJoinSecurityGroup and LoadBalancerLeaveSecurityGroup;
the limits: product documentation, "Add an NLB instance to a security group".
"""

from __future__ import annotations

from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.nlb_instances import OneLoadBalancer, settled_nlb
from terway.lab.cloud.actions.nlb_jobs import begin_job
from terway.lab.cloud.balancer_state import resource_not_found
from terway.lab.cloud.refusal import Refusal, missing
from terway.lab.cloud.world import World
from terway.model.ids import SecurityGroupId

MAX_GROUPS = 4


class SecurityGroups(OneLoadBalancer):
    """The parameters of both actions."""

    security_group_ids: tuple[str, ...] = ()


def join(world: World, request: SecurityGroups) -> Answer:
    """Have an instance join groups of its VPC; it is in all of them, or in none."""
    nlb = settled_nlb(world, request.load_balancer_id)
    named = _named(request)
    joined = tuple(dict.fromkeys((*nlb.security_group_ids, *named)))
    for one in named:
        if one not in world.state.groups:
            raise resource_not_found("securityGroup", one)
        if world.state.groups[one].vpc_id != nlb.vpc_id:
            message = f"{one} is not in the VPC of {nlb.id}."
            raise Refusal("MismatchedParam.SecurityGroupAndVpc", message)
    if len({world.state.groups[one].is_enterprise for one in joined}) > 1:
        message = "The security groups of a load balancer must be of one type."
        raise Refusal("OperationDenied.SecurityGroupTypeMismatch", message)
    if len(joined) > MAX_GROUPS:
        message = f"A load balancer can be in {MAX_GROUPS} security groups."
        raise Refusal("QuotaExceeded.SecurityGroup", message)
    world.state.balancing.put(replace(nlb, security_group_ids=joined))
    return {"JobId": begin_job(world).id}


def leave(world: World, request: SecurityGroups) -> Answer:
    """Have an instance leave groups."""
    nlb = settled_nlb(world, request.load_balancer_id)
    gone = set(_named(request))
    kept = tuple(one for one in nlb.security_group_ids if one not in gone)
    world.state.balancing.put(replace(nlb, security_group_ids=kept))
    return {"JobId": begin_job(world).id}


def _named(request: SecurityGroups) -> tuple[SecurityGroupId, ...]:
    if not request.security_group_ids:
        raise missing("SecurityGroupIds")
    return tuple(map(SecurityGroupId, request.security_group_ids))


ACTIONS: Actions = {
    "LoadBalancerJoinSecurityGroup": Action(request=SecurityGroups, run=join),
    "LoadBalancerLeaveSecurityGroup": Action(request=SecurityGroups, run=leave),
}
