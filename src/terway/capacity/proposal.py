"""Which ranges would do for a cluster? For whoever has none yet, or whose do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from math import ceil

from terway.capacity.network_plan import (
    RESERVED_ADDRESSES,
    NetworkPlan,
    PlannedVSwitch,
    Role,
)
from terway.capacity.planning import addresses_per_node, pods_per_node
from terway.capacity.ranges import DOCKER, PRIVATE, VSWITCH_BITS
from terway.model.address import Family, IPNetwork
from terway.model.errors import UsageError
from terway.model.ids import ZoneId

SPARE = 2.0  # a vSwitch has no size but that it was made with: twice the need
SERVICE_BITS = 20  # a /20 has 4096 services
SERVICE_V6 = IPv6Network("fc00::/112")


def propose(plan: NetworkPlan, zones: Iterable[ZoneId]) -> NetworkPlan:
    """Return `plan` with a VPC, two vSwitches in each zone and ranges of services that fit.

    Its demand, options and what is taken stay. Raises UsageError when no private range is left.
    """
    wanted = tuple(zones)
    nodes = ceil(plan.demand.peak_nodes / max(1, len(wanted)))
    pod_bits = _bits(nodes * _pods(plan))
    node_bits = _bits(nodes)
    vpc = _free_vpc(plan, len(wanted) * (2**pod_bits + 2**node_bits))
    vswitches = tuple(_lay_out(vpc, wanted, pod_bits, node_bits))
    return replace(
        plan,
        vpc_cidr=vpc,
        vswitches=vswitches,
        service_cidrs=tuple(_services(plan, vpc)),
    )


def _pods(plan: NetworkPlan) -> int:
    if not pods_per_node(plan):
        text = "say how many pods a node has, or its instance type"
        raise UsageError(text, field="nodes.pods_per_node")
    return addresses_per_node(plan, Role.PODS)


def _bits(needed: int) -> int:
    """Return the host bits of a vSwitch for `needed` addresses, and as many to spare."""
    least, most = 32 - VSWITCH_BITS[1], 32 - VSWITCH_BITS[0]
    bits = (ceil(needed * SPARE) + RESERVED_ADDRESSES - 1).bit_length()
    if bits > most and needed + RESERVED_ADDRESSES > 2**most:
        text = (
            f"a zone needs {needed} addresses, and a vSwitch has {2**most} at most: take more "
            "zones, or fewer pods on a node"
        )
        raise UsageError(text, field="nodes")
    return min(most, max(least, bits))


def _free_vpc(plan: NetworkPlan, needed: int) -> IPv4Network:
    """Return the first private range of the right size that nobody uses."""
    # Half as much again: there will be other vSwitches, for databases and load balancers.
    bits = max(32 - 28, min(24, (needed * 3 // 2 - 1).bit_length()))
    bits = max(16, bits)
    for private in (PRIVATE[2], PRIVATE[1], PRIVATE[0]):
        if bits > 32 - private.prefixlen:
            continue
        for found in private.subnets(new_prefix=32 - bits):
            if not any(found.overlaps(one) for _, one in plan.taken) and found != DOCKER:
                return found
    text = f"no private range of {needed} addresses is free: say less in taken, or need less"
    raise UsageError(text, field="taken")


def _lay_out(
    vpc: IPv4Network, zones: tuple[ZoneId, ...], pod_bits: int, node_bits: int
) -> Iterator[PlannedVSwitch]:
    """Yield the vSwitches, the largest first, so that each lies on its own boundary."""
    at = int(vpc.network_address)
    sizes = ((Role.PODS, pod_bits), (Role.NODES, node_bits))
    for role, bits in sorted(sizes, key=lambda size: -size[1]):
        for zone in zones:
            yield PlannedVSwitch(
                name=f"{role.value}-{zone}",
                zone_id=zone,
                cidr=IPv4Network((at, 32 - bits)),
                role=role,
            )
            at += 2**bits


def _services(plan: NetworkPlan, vpc: IPv4Network) -> Iterator[IPNetwork]:
    families = plan.options.stack.families
    if Family.V4 in families:
        used = [vpc, DOCKER, *(one for _, one in plan.taken)]
        candidates = PRIVATE[1].subnets(new_prefix=SERVICE_BITS)
        free = (one for one in candidates if not any(one.overlaps(other) for other in used))
        spare = (one for one in PRIVATE[0].subnets(new_prefix=SERVICE_BITS))
        others = (one for one in spare if not any(one.overlaps(other) for other in used))
        found = next(free, None) or next(others, None)
        if found is None:
            raise UsageError("no private range is free for services", field="taken")
        yield found
    if Family.V6 in families:
        yield SERVICE_V6
