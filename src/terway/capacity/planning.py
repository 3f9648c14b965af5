"""Can a cluster be as it is planned: zones, sizes, growth, options? Each refusal has a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf

from terway.capacity.modes import Capacity, Wish, capacities
from terway.capacity.network_plan import NetworkPlan, Objection, PlannedVSwitch, Role
from terway.capacity.ranges import check_ranges
from terway.model.address import IPStack
from terway.model.ids import ZoneId

LEAST_KERNEL = (5, 10)  # what the eBPF data paths need; what is missing is found by probing
PREFIX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How far the vSwitches of a zone and role go. `months` is infinity without growth."""

    zone_id: ZoneId
    role: Role
    usable: int
    needed: int  # at the most nodes there will be
    months: float  # until the addresses run out, at the rate of growth


def check_plan(plan: NetworkPlan) -> tuple[Objection, ...]:
    """Return everything that stands against `plan`; final ones first within each question."""
    return (
        *check_ranges(plan),
        *_check_zones(plan),
        *_check_options(plan),
        *_check_capacity(plan),
        *_check_sizes(plan),
    )


def pods_per_node(plan: NetworkPlan) -> int:
    """Return how many pods a node is planned for: what was said, else what its type holds."""
    if plan.demand.pods_per_node:
        return plan.demand.pods_per_node
    mode = _mode(plan)
    return mode.pods if mode else 0


def outlooks(plan: NetworkPlan) -> tuple[Outlook, ...]:
    """Return how far the addresses of each zone go."""
    return tuple(
        _outlook(plan, zone, role) for zone in plan.zones for role in (Role.NODES, Role.PODS)
    )


def addresses_per_node(plan: NetworkPlan, role: Role) -> int:
    """Return how many addresses of a vSwitch one node takes, pods with their own in `PODS`.

    In shared mode all addresses of an ENI go to pods, so nothing is lost. Prefixes come whole.
    """
    if role is Role.NODES:
        return 1
    pods = pods_per_node(plan)
    if plan.options.is_exclusive:
        return pods
    held = pods + plan.demand.free_per_node
    most = _mode(plan)
    held = min(held, most.pods) if most and most.pods else held
    return ceil(held / PREFIX) * PREFIX + 1 if plan.options.has_prefixes else held


def _outlook(plan: NetworkPlan, zone: ZoneId, role: Role) -> Outlook:
    found = plan.of_role(role, zone)
    usable = sum(one.usable - one.used for one in found)
    shared = any(one.role is Role.BOTH for one in found)
    per_node = addresses_per_node(plan, role)
    if shared:  # nodes and pods draw from the same range
        per_node = addresses_per_node(plan, Role.NODES) + addresses_per_node(plan, Role.PODS)
    zones = max(1, len(plan.zones))
    now, peak = plan.demand.nodes / zones, ceil(plan.demand.peak_nodes / zones)
    rate = plan.demand.nodes_per_month / zones * per_node
    months = max(0.0, (usable - now * per_node) / rate) if rate > 0 else inf
    return Outlook(zone_id=zone, role=role, usable=usable, needed=peak * per_node, months=months)


def _check_zones(plan: NetworkPlan) -> Iterator[Objection]:
    """An ENI can only be attached in its own zone: nodes and their pods' vSwitches share one."""
    if not plan.of_role(Role.NODES):
        yield Objection(field="vswitches", found="empty", reason="no vSwitch is for nodes: add one")
    for zone in plan.zones:
        if not plan.of_role(Role.PODS, zone):
            zones = ", ".join(dict.fromkeys(one.zone_id for one in plan.of_role(Role.PODS)))
            reason = (
                f"nodes are there, and pods' vSwitches in {zones or 'no zone'} only: an ENI is "
                "attached in its own zone. Add one for pods in that zone"
            )
            yield Objection(field="vswitches", found=zone, reason=reason)
    for one in plan.of_role(Role.PODS):
        if one.zone_id not in plan.zones:
            reason = "no node is in that zone: nothing would ever use it"
            field = f"vswitches.{one.name}.zone"
            yield Objection(field=field, found=one.zone_id, reason=reason, is_final=False)


def _check_options(plan: NetworkPlan) -> Iterator[Objection]:
    """The cluster's options, validated together."""
    options = plan.options
    is_ebpf = options.virtual_type.lower() in ("ipvlan", "datapathv2")
    name = options.virtual_type
    if is_ebpf and options.is_exclusive:
        reason = "pods with an ENI of their own share none: take veth, or shared ENIs"
        yield Objection(field="options.virtual_type", found=name, reason=reason)
    if is_ebpf and options.kernel is not None and options.kernel < LEAST_KERNEL:
        shown = ".".join(map(str, options.kernel))
        least = ".".join(map(str, LEAST_KERNEL))
        reason = f"{name} needs a kernel from {least} on: take a newer image, or veth"
        yield Objection(field="options.kernel", found=shown, reason=reason)
    if is_ebpf and options.kernel is None:
        reason = "needs a capable kernel, and which one the nodes have is not said"
        yield Objection(field="options.virtual_type", found=name, reason=reason, is_final=False)
    if options.is_exclusive and options.has_prefixes:
        reason = "pods with an ENI of their own need no prefixes: take one of the two"
        yield Objection(field="options.prefix", found="true", reason=reason)
    if options.is_exclusive and options.has_trunk:
        reason = "a trunk is for pods on shared ENIs; an exclusive ENI has its own vSwitch already"
        yield Objection(field="options.trunk", found="true", reason=reason)


def _check_capacity(plan: NetworkPlan) -> Iterator[Objection]:
    mode, limits = _mode(plan), plan.limits
    if mode is None or limits is None:
        return
    if mode.why_not:
        yield Objection(field="nodes.type", found=limits.instance_type, reason=mode.why_not)
    elif mode.pods <= mode.least:
        reason = (
            f"holds {mode.pods} pods with {mode.mode} ({mode.formula}): it must be more than "
            f"{mode.least}; take a larger type"
        )
        yield Objection(field="nodes.type", found=limits.instance_type, reason=reason)
    if plan.demand.pods_per_node > mode.pods:
        found = str(plan.demand.pods_per_node)
        reason = f"{limits.instance_type} holds {mode.pods} with {mode.mode}: {mode.formula}"
        yield Objection(field="nodes.pods_per_node", found=found, reason=reason)
    if plan.options.has_trunk and not limits.eni_trunk_supported:
        reason = f"{limits.instance_type} has no trunk ENI: take a type that has, or no trunk"
        yield Objection(field="options.trunk", found="true", reason=reason)


def _mode(plan: NetworkPlan) -> Capacity | None:
    """Return the capacity of the nodes' type in the cluster's mode."""
    if plan.limits is None:
        return None
    wish = Wish(stack=plan.options.stack, uses_prefixes=plan.options.has_prefixes)
    wanted = "exclusive ENI" if plan.options.is_exclusive else "shared ENI"
    if plan.options.has_prefixes and not plan.options.is_exclusive:
        wanted = "IPv6 prefix" if plan.options.stack is IPStack.IPV6 else "IPv4 prefixes"
    return next(one for one in capacities(plan.limits, wish) if one.mode == wanted)


def _check_sizes(plan: NetworkPlan) -> Iterator[Objection]:
    if not pods_per_node(plan):
        reason = "say how many pods a node has, or its instance type"
        yield Objection(field="nodes.pods_per_node", found="0", reason=reason)
    for one in outlooks(plan):
        found = plan.of_role(one.role, one.zone_id)
        if found and one.needed > one.usable:
            yield _too_small(plan, one, found)
        elif one.months < 12:
            reason = (
                f"{one.zone_id} runs out of addresses in {one.months:.1f} months: add a vSwitch"
            )
            field = f"vswitches.{found[0].name}.cidr"
            yield Objection(field=field, found=str(found[0].cidr), reason=reason, is_final=False)


def _too_small(plan: NetworkPlan, outlook: Outlook, found: tuple[PlannedVSwitch, ...]) -> Objection:
    bits = (outlook.needed + 4 - 1).bit_length()
    nodes = ceil(plan.demand.peak_nodes / len(plan.zones))
    reason = (
        f"{outlook.zone_id} has {outlook.usable} addresses for {outlook.role.value}, and {nodes} "
        f"nodes there need {outlook.needed}: take a /{max(16, 32 - bits)}, or add vSwitches"
    )
    cidrs = ", ".join(str(one.cidr) for one in found)
    return Objection(field=f"vswitches.{found[0].name}.cidr", found=cidrs, reason=reason)
