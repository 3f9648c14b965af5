"""NLB: make, describe, protect and delete instances.

Source: OpenAPI NLB 2022-04-30, the actions' own pages. An instance is Provisioning for a while. One
zone will do here, where the real cloud wants two.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import msgspec

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.actions.nlb_jobs import begin_job
from terway.lab.cloud.balancer_addresses import take_public, take_v4, take_v6
from terway.lab.cloud.balancer_records import NlbRecord, NlbZoneRecord, ProtectionRecord
from terway.lab.cloud.eni_factory import check_tags
from terway.lab.cloud.refusal import Refusal, invalid, missing
from terway.lab.cloud.requests import Request, Tag
from terway.lab.cloud.world import World

MAX_PER_PAGE = 100


class Mapping(Request):
    """A zone in a request."""

    v_switch_id: str
    zone_id: str
    private_ipv4_address: str = msgspec.field(default="", name="PrivateIPv4Address")


class DeletionProtection(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """Whether the instance must not be deleted."""

    enabled: bool = False
    reason: str = ""


class ModificationProtection(
    msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True
):
    """Whether the console must not change the instance."""

    status: str = "NonProtection"
    reason: str = ""


class Billing(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """How it is paid for; there is one way."""

    pay_type: str = "PostPay"


class CreateLoadBalancer(Request):
    """The parameters."""

    vpc_id: str
    zone_mappings: tuple[Mapping, ...]
    address_type: str
    address_ip_version: str = "ipv4"
    load_balancer_name: str = ""
    load_balancer_type: str = "Network"
    load_balancer_billing_config: Billing = Billing()
    deletion_protection_config: DeletionProtection = DeletionProtection()
    modification_protection_config: ModificationProtection = ModificationProtection()
    resource_group_id: str = ""
    tag: tuple[Tag, ...] = ()
    client_token: str = ""


def create_load_balancer(world: World, request: CreateLoadBalancer) -> Answer:
    """Begin to make an instance, with an address in each zone, of the internet too if so wanted."""
    vpc = world.state.vpc(request.vpc_id)
    if request.address_type not in ("Internet", "Intranet"):
        raise invalid("AddressType", "it must be Internet or Intranet")
    if request.address_ip_version.lower() not in ("ipv4", "dualstack"):
        raise invalid("AddressIpVersion", "it must be ipv4 or DualStack")
    if len(world.state.balancing.nlbs) >= world.limits.load_balancers:
        raise Refusal("QuotaExceeded.LoadBalancersNum", "The quota of load balancers is exceeded.")
    nlb_id = world.ids.new("nlb")
    made = NlbRecord(
        id=nlb_id,
        serial=world.ids.serial(),
        name=request.load_balancer_name,
        vpc_id=vpc.id,
        is_internet=request.address_type == "Internet",
        is_dual_stack=request.address_ip_version.lower() == "dualstack",
        zones=(),
        dns_name=f"{nlb_id}.{world.place.region_id}.nlb.aliyuncsslb.com",
        created_at=world.now(),
        ready_at=world.now() + world.delays.balancer_s,
        protection=_protection(request),
        resource_group_id=request.resource_group_id,
        tags=check_tags(world, request.tag),
    )
    world.state.balancing.put(_with_zones(world, made, request.zone_mappings))
    return {"LoadbalancerId": made.id, "OrderId": 0}


def _protection(request: CreateLoadBalancer) -> ProtectionRecord:
    return ProtectionRecord(
        is_deletion_refused=request.deletion_protection_config.enabled,
        deletion_reason=request.deletion_protection_config.reason,
        modification_status=request.modification_protection_config.status,
        modification_reason=request.modification_protection_config.reason,
    )


def _with_zones(world: World, nlb: NlbRecord, mappings: tuple[Mapping, ...]) -> NlbRecord:
    if not mappings:
        raise missing("ZoneMappings")
    if len({one.zone_id for one in mappings}) < len(mappings):
        raise Refusal("DuplicatedParam.ZoneId", "The zones of ZoneMappings must differ.")
    zones: tuple[NlbZoneRecord, ...] = ()
    for one in mappings:
        zones = (*zones, _zone(world, replace(nlb, zones=zones), one))
    return replace(nlb, zones=zones)


def _zone(world: World, nlb: NlbRecord, mapping: Mapping) -> NlbZoneRecord:
    vswitch = world.state.vswitch(mapping.v_switch_id)
    if (vswitch.vpc_id, vswitch.zone_id) != (nlb.vpc_id, mapping.zone_id):
        message = f"{vswitch.id} is in zone {vswitch.zone_id} of {vswitch.vpc_id}."
        raise Refusal("MismatchedParam.VSwitchAndZone", message)
    public = take_public(world, version=4) if nlb.is_internet else None
    return NlbZoneRecord(
        vswitch_id=vswitch.id,
        zone_id=vswitch.zone_id,
        private_ipv4=take_v4(world, vswitch, mapping.private_ipv4_address),
        public_ipv4=_not_yet(world, nlb, public) if isinstance(public, IPv4Address) else None,
        ipv6=take_v6(world, vswitch) if nlb.is_dual_stack else None,
        eni_id=world.ids.new("eni"),
        allocation_id=world.ids.new("eip") if nlb.is_internet else "",
    )


def _not_yet(world: World, nlb: NlbRecord, public: IPv4Address) -> IPv4Address:
    """Return an address that the zones before do not have: the instance is not on record yet."""
    mine = {zone.public_ipv4 for zone in nlb.zones}
    taken = world.state.balancing.public_addresses()
    while public in mine or public in taken:
        public += 1
    return public


class OneLoadBalancer(Request):
    """The parameters of an action about one instance."""

    load_balancer_id: str
    client_token: str = ""


def settled_nlb(world: World, balancer_id: str) -> NlbRecord:
    """Return an instance that is Active. Raises Refusal."""
    nlb = world.state.balancing.nlb(balancer_id)
    if nlb.ready_at > world.now():
        message = f"The status of loadbalancer [{nlb.id}] is incorrect."
        raise Refusal("IncorrectStatus.loadbalancer", message)
    return nlb


def delete_load_balancer(world: World, request: OneLoadBalancer) -> Answer:
    """Delete an instance with its listeners, unless it is protected."""
    held = world.state.balancing
    nlb = settled_nlb(world, request.load_balancer_id)
    if nlb.protection.is_deletion_refused:
        message = "The operation is not allowed because of DeletionProtectionEnabled."
        raise Refusal("OperationDenied.DeletionProtectionEnabled", message)
    held.remove(*held.listeners_of_nlb(nlb.id), nlb)
    return {"JobId": begin_job(world).id}


class UpdateLoadBalancerProtection(OneLoadBalancer):
    """The parameters; what is not given stays."""

    deletion_protection_enabled: bool | None = None
    deletion_protection_reason: str = ""
    modification_protection_status: str = ""
    modification_protection_reason: str = ""


def update_protection(world: World, request: UpdateLoadBalancerProtection) -> Answer:
    """Refuse to delete or change an instance from now on, or no longer."""
    nlb = world.state.balancing.nlb(request.load_balancer_id)
    held = nlb.protection
    deletion = request.deletion_protection_enabled
    changed = ProtectionRecord(
        is_deletion_refused=held.is_deletion_refused if deletion is None else deletion,
        deletion_reason=request.deletion_protection_reason,
        modification_status=request.modification_protection_status or held.modification_status,
        modification_reason=request.modification_protection_reason,
    )
    world.state.balancing.put(replace(nlb, protection=changed))
    return {}


class UpdateLoadBalancerAttribute(OneLoadBalancer):
    """The parameters; what is not given stays."""

    load_balancer_name: str = ""
    cross_zone_enabled: bool | None = None


def update_attribute(world: World, request: UpdateLoadBalancerAttribute) -> Answer:
    """Rename an instance."""
    nlb = settled_nlb(world, request.load_balancer_id)
    crossing = request.cross_zone_enabled
    changed = replace(
        nlb,
        name=request.load_balancer_name or nlb.name,
        is_cross_zone=nlb.is_cross_zone if crossing is None else crossing,
    )
    world.state.balancing.put(changed)
    return {"JobId": begin_job(world).id}


ACTIONS: Actions = {
    "CreateLoadBalancer": Action(request=CreateLoadBalancer, run=create_load_balancer),
    "DeleteLoadBalancer": Action(request=OneLoadBalancer, run=delete_load_balancer),
    "UpdateLoadBalancerProtection": Action(
        request=UpdateLoadBalancerProtection, run=update_protection
    ),
    "UpdateLoadBalancerAttribute": Action(
        request=UpdateLoadBalancerAttribute, run=update_attribute
    ),
}
