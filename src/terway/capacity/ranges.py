"""Do the ranges of a plan go together, and are they ones that a VPC can have?"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations

from terway.capacity.network_plan import NetworkPlan, Objection
from terway.model.address import Family, IPNetwork, family_of

# Of the cloud itself (metadata, DNS, OpenAPI), of the link, of the machine, and of groups.
RESERVED = tuple(
    (IPv4Network(cidr), whose)
    for cidr, whose in (
        ("100.64.0.0/10", "the cloud's own services"),
        ("169.254.0.0/16", "link-local addresses and node-local DNS"),
        ("127.0.0.0/8", "the machine itself"),
        ("224.0.0.0/4", "multicast"),
    )
)
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
DOCKER = IPv4Network("172.17.0.0/16")  # docker0, where nobody changed it
VPC_BITS, VSWITCH_BITS = (8, 28), (16, 29)
MOST_SERVICE_BITS = 20  # host bits: kube-apiserver allows no larger range of services


def check_ranges(plan: NetworkPlan) -> Iterator[Objection]:
    """Yield what is wrong with each range, and which overlap."""
    yield from _check_vpc(plan.vpc_cidr)
    for one in plan.vswitches:
        yield from _check_vswitch(f"vswitches.{one.name}.cidr", one.cidr, plan.vpc_cidr)
    for service in plan.service_cidrs:
        yield from _check_service(service)
    yield from _check_families(plan)
    yield from _check_overlaps(plan)


def _check_vpc(cidr: IPv4Network) -> Iterator[Objection]:
    least, most = VPC_BITS
    if not least <= cidr.prefixlen <= most:
        yield _objection("vpc.cidr", cidr, f"a VPC has between {least} and {most} bits of mask")
    yield from _check_reserved("vpc.cidr", cidr)
    if not any(cidr.subnet_of(one) for one in PRIVATE):
        reason = "public addresses behind it cannot be reached: take a private range"
        yield _objection("vpc.cidr", cidr, reason, is_final=False)


def _check_vswitch(field: str, cidr: IPv4Network, vpc: IPv4Network) -> Iterator[Objection]:
    least, most = VSWITCH_BITS
    if not least <= cidr.prefixlen <= most:
        yield _objection(field, cidr, f"a vSwitch has between {least} and {most} bits of mask")
    if not cidr.subnet_of(vpc):
        yield _objection(field, cidr, f"must lie in the VPC's range {vpc}")


def _check_service(cidr: IPNetwork) -> Iterator[Objection]:
    field = "service_cidr"
    bits = cidr.max_prefixlen - cidr.prefixlen
    if bits > MOST_SERVICE_BITS:
        reason = f"kube-apiserver takes at most 2^{MOST_SERVICE_BITS} services: take a longer mask"
        yield _objection(field, cidr, reason)
    if bits < 8:
        reason = f"has room for {2**bits} services only: take a shorter mask"
        yield _objection(field, cidr, reason, is_final=False)
    if isinstance(cidr, IPv4Network):
        yield from _check_reserved(field, cidr)


def _check_reserved(field: str, cidr: IPv4Network) -> Iterator[Objection]:
    for other, whose in RESERVED:
        if cidr.overlaps(other):
            yield _objection(field, cidr, f"overlaps {other}, which is for {whose}: take another")
    if cidr.overlaps(DOCKER) and not (field == "vpc.cidr" and DOCKER.subnet_of(cidr)):
        reason = f"overlaps {DOCKER}, Docker's default bridge: nodes with Docker cannot reach it"
        yield _objection(field, cidr, reason, is_final=False)


def _check_families(plan: NetworkPlan) -> Iterator[Objection]:
    """A cluster has one range of services for each of its families."""
    have = [family_of(one) for one in plan.service_cidrs]
    for family in Family:
        count, wanted = have.count(family), family in plan.options.stack.families
        name = f"IPv{family.value}"
        shown = ",".join(map(str, plan.service_cidrs)) or "empty"
        if wanted and not count:
            reason = f"ip_stack {plan.options.stack.value} needs a range of {name}: add one"
            yield Objection(field="service_cidr", found=shown, reason=reason)
        if count > 1:
            reason = f"has {count} ranges of {name}: a cluster has one"
            yield Objection(field="service_cidr", found=shown, reason=reason)
        if count and not wanted:
            reason = f"has {name}, which ip_stack {plan.options.stack.value} has not: remove it"
            yield Objection(field="service_cidr", found=shown, reason=reason)


def _check_overlaps(plan: NetworkPlan) -> Iterator[Objection]:
    inner: list[tuple[str, IPv4Network | IPv6Network]] = [
        (f"vswitches.{one.name}.cidr", one.cidr) for one in plan.vswitches
    ]
    services = [("service_cidr", one) for one in plan.service_cidrs]
    outer = [("vpc.cidr", plan.vpc_cidr), *plan.taken]
    for (field, mine), (other, theirs) in combinations(inner, 2):
        if _overlap(mine, theirs):
            yield _objection(field, mine, f"overlaps {other}, {theirs}: move one of them")
    for field, mine in services:
        for other, theirs in outer:
            if _overlap(mine, theirs):
                reason = f"overlaps {other}, {theirs}: addresses there could not be reached"
                yield _objection(field, mine, reason)
    for other, theirs in plan.taken:
        if _overlap(plan.vpc_cidr, theirs):
            reason = f"overlaps {other}, {theirs}: the two could never be connected"
            yield _objection("vpc.cidr", plan.vpc_cidr, reason, is_final=False)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    if isinstance(one, IPv6Network) and isinstance(other, IPv6Network):
        return one.overlaps(other)
    return False


def _objection(field: str, cidr: IPNetwork, reason: str, *, is_final: bool = True) -> Objection:
    return Objection(field=field, found=str(cidr), reason=reason, is_final=is_final)
