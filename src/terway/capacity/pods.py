"""How many pods does an instance type hold, in each mode, and is that enough for a node?

Source: product documentation, "Work with Terway"; DescribeInstanceTypes names the limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.model.address import Family, IPStack
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError

PREFIX_ADDRESSES = 16  # of a /28, the unit of IPv4 prefix delegation
LEAST_SHARED = 11  # a node must hold more pods than this
LEAST_EXCLUSIVE = 6


class Mode(Enum):
    """How pods get their network."""

    SHARED = "shared ENI"
    EXCLUSIVE = "exclusive ENI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What the user changes of the limits: `eni_cap_ratio`, `eni_cap_shift` and `max_eni`."""

    ratio: float = 1.0
    shift: int = 0
    max_enis: int = 0  # 0: no limit of the user's


def eni_slots(limits: InstanceLimits) -> int:
    """Return how many ENIs fit beside the primary one."""
    return max(0, limits.eni_quantity - 1)


def max_enis(limits: InstanceLimits, tuning: Tuning) -> int:
    """Return how many ENIs pods may have: floor(EniQuantity x ratio) + shift - 1, capped."""
    tuned = int(limits.eni_quantity * tuning.ratio) + tuning.shift - 1
    allowed = max(0, min(tuned, eni_slots(limits)))
    return min(allowed, tuning.max_enis) if tuning.max_enis > 0 else allowed


def pods_per_eni(limits: InstanceLimits, stack: IPStack) -> int:
    """Return how many pods share an ENI: each takes an address of every family."""
    per_family = {
        Family.V4: limits.eni_private_ip_address_quantity,
        Family.V6: limits.eni_ipv6_address_quantity,
    }
    return min(per_family[family] for family in stack.families)


def shared_pods(limits: InstanceLimits, stack: IPStack, tuning: Tuning | None = None) -> int:
    """Return (EniQuantity - 1) x addresses of an ENI, within what the user allows."""
    return max_enis(limits, tuning or Tuning()) * pods_per_eni(limits, stack)


def exclusive_pods(limits: InstanceLimits) -> int:
    """Return EniQuantity - 1: each pod has an ENI."""
    return eni_slots(limits)


def member_pods(limits: InstanceLimits) -> int:
    """Return EniTotalQuantity - EniQuantity: pods with a member of the trunk ENI."""
    if not limits.eni_trunk_supported:
        return 0
    return max(0, limits.eni_total_quantity - limits.eni_quantity)


def prefix_addresses(limits: InstanceLimits) -> int:
    """Return the addresses of all prefixes; each ENI's primary address takes a prefix's place."""
    prefixes = max(0, limits.eni_private_ip_address_quantity - 1)
    return prefixes * PREFIX_ADDRESSES * max(0, limits.eni_total_quantity - 1)


def rdma_enis(limits: InstanceLimits) -> int:
    """Return how many ENIs can be RDMA ones: at most two, and one on small instances."""
    if limits.eri_quantity == 0 or limits.eni_quantity <= 2:
        return 0
    return min(2 if limits.eni_quantity >= 8 else 1, limits.eri_quantity)


def require_capacity(limits: InstanceLimits, mode: Mode, stack: IPStack) -> int:
    """Return the pods that a node of this type holds; UsageError when they are too few."""
    if stack is IPStack.DUAL:
        _require_both_families(limits)
    if mode is Mode.SHARED:
        pods, least = shared_pods(limits, stack), LEAST_SHARED
        remedy = "take a type with more ENIs, or with more addresses for each"
    else:
        pods, least = exclusive_pods(limits), LEAST_EXCLUSIVE
        remedy = "take a type with more ENIs, or a node pool in shared ENI mode"
    if pods <= least:
        raise UsageError(
            f"instance type {limits.instance_type} holds {pods} pods with {mode.value}, "
            f"{formula(limits, mode, stack)}: it must be more than {least}; {remedy}",
            field="instance_type",
        )
    return pods


def formula(limits: InstanceLimits, mode: Mode, stack: IPStack) -> str:
    """Return how the pods of a type are counted, with its values."""
    if mode is Mode.EXCLUSIVE:
        return f"EniQuantity - 1 = {limits.eni_quantity} - 1"
    v4, v6 = limits.eni_private_ip_address_quantity, limits.eni_ipv6_address_quantity
    by_v6 = Family.V4 not in stack.families or (Family.V6 in stack.families and v6 < v4)
    name = "EniIpv6AddressQuantity" if by_v6 else "EniPrivateIpAddressQuantity"
    return f"(EniQuantity - 1) x {name} = ({limits.eni_quantity} - 1) x {v6 if by_v6 else v4}"


def _require_both_families(limits: InstanceLimits) -> None:
    v4, v6 = limits.eni_private_ip_address_quantity, limits.eni_ipv6_address_quantity
    if v6 == 0:
        raise UsageError(
            f"instance type {limits.instance_type} has no IPv6 addresses: set ip_stack to "
            f"ipv4, or take another type ({v4} IPv4 addresses for an ENI, {v6} IPv6)",
            field="eni_conf.ip_stack",
        )
