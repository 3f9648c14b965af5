"""CLB: change what an instance is called, how it is protected, and whether it forwards.

Source: OpenAPI SLB 2014-05-15, the actions' own pages.
"""

from __future__ import annotations

from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.slb_instances import OneLoadBalancer
from terway.lab.cloud.actions.slb_words import parse_on_off, protection_status
from terway.lab.cloud.refusal import invalid
from terway.lab.cloud.world import World


class SetLoadBalancerDeleteProtection(OneLoadBalancer):
    """The parameters."""

    delete_protection: str


def set_delete_protection(world: World, request: SetLoadBalancerDeleteProtection) -> Answer:
    """Refuse to delete an instance from now on, or no longer."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    refused = parse_on_off("DeleteProtection", request.delete_protection)
    changed = replace(clb.protection, is_deletion_refused=refused)
    world.state.balancing.put(replace(clb, protection=changed))
    return {}


class SetLoadBalancerModificationProtection(OneLoadBalancer):
    """The parameters."""

    modification_protection_status: str
    modification_protection_reason: str = ""


def set_modification_protection(
    world: World, request: SetLoadBalancerModificationProtection
) -> Answer:
    """Keep the console, though not the API, from changing an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    changed = replace(
        clb.protection,
        modification_status=protection_status(request.modification_protection_status),
        modification_reason=request.modification_protection_reason,
    )
    world.state.balancing.put(replace(clb, protection=changed))
    return {}


class SetLoadBalancerName(OneLoadBalancer):
    """The parameters."""

    load_balancer_name: str


def set_load_balancer_name(world: World, request: SetLoadBalancerName) -> Answer:
    """Rename an instance."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    world.state.balancing.put(replace(clb, name=request.load_balancer_name))
    return {}


class SetLoadBalancerStatus(OneLoadBalancer):
    """The parameters."""

    load_balancer_status: str


def set_load_balancer_status(world: World, request: SetLoadBalancerStatus) -> Answer:
    """Have an instance forward (active), or not (inactive)."""
    if request.load_balancer_status not in ("active", "inactive"):
        raise invalid("LoadBalancerStatus", "it must be active or inactive")
    clb = world.state.balancing.clb(request.load_balancer_id)
    is_active = request.load_balancer_status == "active"
    world.state.balancing.put(replace(clb, is_active=is_active))
    return {}


class ModifySpec(OneLoadBalancer):
    """The parameters of ModifyLoadBalancerInstanceSpec."""

    load_balancer_spec: str
    auto_pay: bool = True


def modify_spec(world: World, request: ModifySpec) -> Answer:
    """Give an instance another specification."""
    clb = world.state.balancing.clb(request.load_balancer_id)
    world.state.balancing.put(replace(clb, spec=request.load_balancer_spec))
    return {"OrderId": 0}


ACTIONS: Actions = {
    "SetLoadBalancerDeleteProtection": Action(
        request=SetLoadBalancerDeleteProtection, run=set_delete_protection
    ),
    "SetLoadBalancerModificationProtection": Action(
        request=SetLoadBalancerModificationProtection, run=set_modification_protection
    ),
    "SetLoadBalancerName": Action(request=SetLoadBalancerName, run=set_load_balancer_name),
    "SetLoadBalancerStatus": Action(request=SetLoadBalancerStatus, run=set_load_balancer_status),
    "ModifyLoadBalancerInstanceSpec": Action(request=ModifySpec, run=modify_spec),
}
