"""May terway be installed with these values, here? Rules over values and what is there.

NetworkPolicy is enforced in both modes, so it has no rule. Sources of the others: product
documentation, "Work with Terway"; capacity and planning have those that they share with plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, ip_network

from terway.capacity.modes import Wish, capacities
from terway.capacity.network_plan import Demand, NetworkPlan, Options, PlannedVSwitch, Role
from terway.capacity.planning import LEAST_KERNEL
from terway.capacity.ranges import check_ranges
from terway.cli.chart import values as v
from terway.cli.chart.facts import CloudFacts, Facts, KnownNode
from terway.config.declare import Values
from terway.config.findings import Report
from terway.model.address import Family, IPNetwork, IPStack
from terway.model.eni import InstanceLimits, VSwitch
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId

_FIELDS = {"service_cidr": v.SERVICE_CIDR, "vpc.cidr": v.VPC_ID}


def check_together(said: Values, report: Report) -> None:
    """Put into `report` what the values cannot be together, and what of them has no effect."""
    if said[v.CONTROL_PLANE][v.ENABLED]:
        for key in (v.CLUSTER_ID, v.VPC_ID):
            if not said[key]:
                report.refuse(said.path(key), "", "must be there: the control plane needs it")
    elif said[v.CENTRALIZED]:
        rule = "needs the control plane: set controlPlane.enabled to true, or this to false"
        report.refuse(said.path(v.CENTRALIZED), True, rule)
    pool = said[v.POOL]
    if pool[v.MIN_SIZE] > pool[v.MAX_SIZE]:
        rule = f"must be at most maxSize, {pool[v.MAX_SIZE]}: lower it, or raise that"
        report.refuse(pool.path(v.MIN_SIZE), pool[v.MIN_SIZE], rule)
    if _is_exclusive(said) and said[v.DATAPATH] != "veth":
        rule = "is for shared ENIs: leave it at veth, or set mode to shared"
        report.refuse(said.path(v.DATAPATH), said[v.DATAPATH], rule)
    _check_effects(said, report)


def _check_effects(said: Values, report: Report) -> None:
    if said[v.TRUNK] and not has_trunk(said):
        text = "has no effect: trunk ENIs are for shared mode with centralizedIPAM"
        report.caution(said.path(v.TRUNK), text)
    for key, words in ((v.VSWITCHES, "the vSwitch"), (v.GROUPS, "the security groups")):
        if not said[key]:
            report.caution(said.path(key), f"is empty: pods have {words} of their node")
    if said[v.SERVICE_CIDR] == "":
        report.caution(said.path(v.SERVICE_CIDR), "is empty: whether it overlaps is not known")


def has_trunk(said: Values) -> bool:
    """Return whether nodes get trunk ENIs, as the chart decides it."""
    return said[v.TRUNK] and said[v.CENTRALIZED] and not _is_exclusive(said)


def check_surroundings(said: Values, facts: Facts, report: Report) -> None:
    """Put into `report` what does not go with what is there."""
    if facts.cloud is not None:
        _check_cloud(said, facts.cloud, report)
    for limits in facts.types.values():
        _check_type(said, limits, report)
        if facts.knows_trunks and has_trunk(said) and not limits.eni_trunk_supported:
            text = "has no trunk ENI: no pod with a network of its own goes to such nodes"
            report.caution("nodes.instance-type", f"{limits.instance_type} {text}")
    if facts.nodes is not None:
        _check_nodes(said, facts.nodes, report)
        if facts.cloud is not None:
            _check_room(said, facts.nodes, facts.cloud, report)


def _check_cloud(said: Values, cloud: CloudFacts, report: Report) -> None:
    if cloud.vpc is None:
        rule = f"is no VPC that these keys see in {said[v.REGION_ID] or 'this region'}: mend either"
        report.refuse(said.path(v.VPC_ID), said[v.VPC_ID], rule)
        return
    for zone, one, found in _vswitches(said, cloud):
        for rule in _against_vswitch(said, zone, found):
            report.refuse(f"{said.path(v.VSWITCHES)}.{zone}", one, rule)
    for group in said[v.GROUPS]:
        if SecurityGroupId(group) not in cloud.group_ids:
            rule = f"is no security group of {cloud.vpc.id}: an ENI's must be in its VPC"
            report.refuse(said.path(v.GROUPS), group, rule)
    if Family.V6 in _stack(said).families and cloud.vpc.ipv6_cidr is None:
        rule = f"needs IPv6, which {cloud.vpc.id} has not: enable it there first, or take ipv4"
        report.refuse(said.path(v.IP_STACK), said[v.IP_STACK], rule)
    _check_ranges(said, cloud, cloud.vpc.cidr, report)
    for permission in cloud.permissions:
        if permission.is_allowed is False:
            text = f"is not allowed with these keys ({permission.answer}): terway's must be"
            report.caution(f"permissions.{permission.action}", text)


def _vswitches(
    said: Values, cloud: CloudFacts
) -> Iterator[tuple[ZoneId, VSwitchId, VSwitch | None]]:
    for zone, ids in said[v.VSWITCHES].items():
        for one in map(VSwitchId, ids):
            yield ZoneId(zone), one, cloud.vswitches.get(one)


def _against_vswitch(said: Values, zone: ZoneId, found: VSwitch | None) -> Iterator[str]:
    if found is None:
        yield "is no vSwitch that these keys see: mend the id, or remove it"
        return
    if found.vpc_id != said[v.VPC_ID]:
        yield f"is in {found.vpc_id}: pods' vSwitches are in the cluster's VPC"
    if found.zone_id != zone:
        yield f"is in {found.zone_id}: write it below that zone"
    if Family.V6 in _stack(said).families and found.ipv6_cidr is None:
        yield f"has no IPv6 range, which ipStack {said[v.IP_STACK]} needs: enable it there"
    if not found.available_ip_count:
        yield "has no address left: take another, or add one"


def _check_ranges(said: Values, cloud: CloudFacts, vpc_cidr: IPv4Network, report: Report) -> None:
    services = service_cidrs(said, report)
    if not services:
        return
    plan = NetworkPlan(
        vpc_cidr=vpc_cidr,
        vswitches=tuple(
            PlannedVSwitch(name=one.id, zone_id=one.zone_id, cidr=one.cidr, role=Role.PODS)
            for one in cloud.vswitches.values()
        ),
        service_cidrs=services,
        demand=Demand(nodes=1),
        options=Options(stack=_stack(said)),
    )
    for one in check_ranges(plan):
        key = _FIELDS.get(one.field, v.VSWITCHES)
        if one.is_final:
            report.refuse(said.path(key), one.found, one.reason)
        else:
            report.caution(said.path(key), f"{one.found} {one.reason}")


def service_cidrs(said: Values, report: Report) -> tuple[IPNetwork, ...]:
    """Return the ranges of services; put one that is none into `report`."""
    found: list[IPNetwork] = []
    for part in filter(None, map(str.strip, said[v.SERVICE_CIDR].split(","))):
        try:
            found.append(ip_network(part))
        except ValueError as error:
            report.refuse(said.path(v.SERVICE_CIDR), part, f"must be a range: {error}")
    return tuple(found)


def _check_type(said: Values, limits: InstanceLimits, report: Report) -> None:
    path, name = "nodes.instance-type", limits.instance_type
    wanted = "exclusive ENI" if _is_exclusive(said) else "shared ENI"
    held = capacities(limits, Wish(stack=_stack(said)))
    mode = next(one for one in held if one.mode == wanted)
    if mode.why_not:
        report.refuse(path, name, f"{mode.why_not}: take another type, or ipStack ipv4")
    elif not mode.is_enough:
        rule = (
            f"holds {mode.pods} pods in {said[v.MODE]} mode ({mode.formula}): it must be more than "
            f"{mode.least}; take a larger type"
        )
        report.refuse(path, name, rule)


def _check_nodes(said: Values, nodes: tuple[KnownNode, ...], report: Report) -> None:
    zones = said[v.VSWITCHES]
    for zone, names in _by_zone(nodes).items():
        if not zone:
            text = f"{_shown(names)}: no label topology.kubernetes.io/zone; zones not checked"
            report.caution("nodes", text)
        elif zones and not zones.get(zone):
            rule = f"has nodes ({_shown(names)}) and no vSwitch: add one there"
            report.refuse(said.path(v.VSWITCHES), zone, rule)
    there = {one.zone_id for one in nodes}
    for name in zones if there and ZoneId("") not in there else ():
        if ZoneId(name) not in there:
            report.caution(f"{said.path(v.VSWITCHES)}.{name}", "no node is there: never used")
    if _is_exclusive(said) and (shared := [one.name for one in nodes if not one.is_exclusive]):
        text = (
            f"{_shown(shared)}: no label k8s.aliyun.com/exclusive-mode-eni-type=eniOnly, so their "
            "pods share ENIs: set it before terway comes to them"
        )
        report.caution(said.path(v.MODE), text)
    if said[v.DATAPATH] != "veth":
        _check_kernels(said, nodes, report)


def _check_kernels(said: Values, nodes: tuple[KnownNode, ...], report: Report) -> None:
    old = [one for one in nodes if one.kernel and _version(one.kernel) < LEAST_KERNEL]
    if old:
        least = ".".join(map(str, LEAST_KERNEL))
        names = _shown([f"{one.name} ({one.kernel})" for one in old])
        rule = f"needs a kernel from {least} on, and these have none: {names}. Take veth there"
        report.refuse(said.path(v.DATAPATH), said[v.DATAPATH], rule)


def _check_room(
    said: Values, nodes: tuple[KnownNode, ...], cloud: CloudFacts, report: Report
) -> None:
    """What waits for pods on the nodes of a zone must be in its vSwitches."""
    waiting = max(said[v.POOL][v.MAX_SIZE], said[v.POOL][v.WARM_UP])
    for zone, names in _by_zone(nodes).items():
        found = [one for of, _, one in _vswitches(said, cloud) if of == zone and one]
        free = sum(one.available_ip_count for one in found)
        if found and free < waiting * len(names):
            text = (
                f"has {free} addresses left, and {len(names)} nodes keep {waiting} each for pods "
                "to come: add a vSwitch, or lower pool.maxSize"
            )
            report.caution(f"{said.path(v.VSWITCHES)}.{zone}", text)


def _by_zone(nodes: tuple[KnownNode, ...]) -> Mapping[ZoneId, list[str]]:
    found: dict[ZoneId, list[str]] = {}
    for one in nodes:
        found.setdefault(one.zone_id, []).append(one.name)
    return found


def _version(text: str) -> tuple[int, ...]:
    parts = text.split("-", maxsplit=1)[0].split(".")[:2]
    return tuple(int(one) for one in parts if one.isdigit())


def _shown(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_exclusive(said: Values) -> bool:
    return said[v.MODE] == "exclusive"


def _stack(said: Values) -> IPStack:
    return IPStack(said[v.IP_STACK])
