"""What does an instance type hold in every mode, by which arithmetic, and what stands against it?

Source: product documentation, "Work with Terway"; upstream Terway, pkg/aliyun/client/limit.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from terway.capacity.pods import (
    LEAST_EXCLUSIVE,
    LEAST_SHARED,
    PREFIX_ADDRESSES,
    Tuning,
    exclusive_pods,
    max_enis,
    member_pods,
    pods_per_eni,
    rdma_enis,
)
from terway.model.address import Family, IPStack
from terway.model.eni import InstanceLimits

MAX_POD_PREFIX_BITS = 16  # of an IPv6 /80, counted as one node's: 65536 addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user decides: families, his share of the ENIs, and features that take some."""

    stack: IPStack = IPStack.IPV4
    tuning: Tuning = field(default_factory=Tuning)
    uses_erdma: bool = False
    uses_prefixes: bool = False
    prefix_count: int = 0  # IPv4 prefixes on the node; 0: as many as go


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The pods of one mode. `why_not` says what makes the mode impossible, if anything does."""

    mode: str
    pods: int
    formula: str  # with the type's numbers in it
    least: int = 0  # a node must hold more than that
    why_not: str = ""

    @property
    def is_enough(self) -> bool:
        """Return whether a node of this type can be in this mode."""
        return not self.why_not and self.pods > self.least


def capacities(limits: InstanceLimits, wish: Wish) -> tuple[Capacity, ...]:
    """Return what the type holds, a mode each."""
    found = [_shared(limits, wish), _exclusive(limits, wish), _members(limits)]
    if wish.uses_prefixes:
        found.append(_prefixes(limits, wish))
    if wish.uses_erdma or limits.eri_quantity:
        found.append(_erdma(limits, wish))
    return tuple(found)


def standard_enis(limits: InstanceLimits, wish: Wish) -> int:
    """Return how many ordinary ENIs pods may have: RDMA ones take the place of some."""
    return max(0, max_enis(limits, wish.tuning) - (rdma_enis(limits) if wish.uses_erdma else 0))


def _shared(limits: InstanceLimits, wish: Wish) -> Capacity:
    enis, per_eni = standard_enis(limits, wish), pods_per_eni(limits, wish.stack)
    return Capacity(
        mode="shared ENI",
        pods=enis * per_eni,
        formula=f"{_enis(limits, wish)} x {per_eni} addresses",
        least=LEAST_SHARED,
        why_not=_no_ipv6(limits, wish),
    )


def _exclusive(limits: InstanceLimits, wish: Wish) -> Capacity:
    enis = min(exclusive_pods(limits), standard_enis(limits, wish))
    return Capacity(
        mode="exclusive ENI",
        pods=enis,
        formula=_enis(limits, wish),
        least=LEAST_EXCLUSIVE,
        why_not="an ENI of its own needs no prefix"
        if wish.uses_prefixes
        else _no_ipv6(limits, wish),
    )


def _members(limits: InstanceLimits) -> Capacity:
    return Capacity(
        mode="trunk members",
        pods=member_pods(limits),
        formula=f"{limits.eni_total_quantity} - {limits.eni_quantity} ENIs",
        why_not="" if limits.eni_trunk_supported else "the type has no trunk ENI",
    )


def _prefixes(limits: InstanceLimits, wish: Wish) -> Capacity:
    """Each ENI's primary address takes the place of one prefix."""
    per_eni = max(0, limits.eni_private_ip_address_quantity - 1)
    enis = standard_enis(limits, wish)
    most = per_eni * enis
    count = min(wish.prefix_count, most) if wish.prefix_count else most
    too_many = f"{wish.prefix_count} prefixes do not fit: {enis} ENIs have room for {most}"
    if wish.stack is IPStack.IPV6:
        return Capacity(mode="IPv6 prefix", pods=2**MAX_POD_PREFIX_BITS, formula="one /80")
    return Capacity(
        mode="IPv4 prefixes",
        pods=count * PREFIX_ADDRESSES,
        formula=f"{count} x {PREFIX_ADDRESSES}, of ({per_eni + 1} - 1) x {enis}",
        least=LEAST_SHARED,
        why_not=too_many if wish.prefix_count > most else "",
    )


def _erdma(limits: InstanceLimits, wish: Wish) -> Capacity:
    enis, per_eni = rdma_enis(limits), pods_per_eni(limits, wish.stack)
    return Capacity(
        mode="ERDMA",
        pods=enis * per_eni,
        formula=f"{enis} ERDMA ENIs x {per_eni} addresses",
        why_not="" if enis else "the type has no ERDMA interface to spare",
    )


def _enis(limits: InstanceLimits, wish: Wish) -> str:
    """Return the arithmetic of ENIs, with what the user changes of it."""
    tuning = wish.tuning
    base = f"{limits.eni_quantity}"
    if tuning.ratio != 1.0:
        base = f"floor({base} x {tuning.ratio:g})"
    if tuning.shift:
        base += f" {'+' if tuning.shift > 0 else '-'} {abs(tuning.shift)}"
    text = f"({base} - 1)"
    if wish.uses_erdma and rdma_enis(limits):
        text = f"({text} - {rdma_enis(limits)} ERDMA)"
    return f"min({text}, {tuning.max_enis})" if tuning.max_enis else text


def _no_ipv6(limits: InstanceLimits, wish: Wish) -> str:
    lacks = Family.V6 in wish.stack.families and not limits.eni_ipv6_address_quantity
    return "the type has no IPv6 addresses" if lacks else ""
