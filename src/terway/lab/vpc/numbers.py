"""Which small number stands for an id in the fabric's maps, the same one for as long as it lives.

A number that changed its meaning while packets flow would let a packet be judged by half of the
old state and half of the new one. So a number is kept while its id is there, and one that has
just become free is given again only when no other is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from terway.lab.vpc.contract import GROUP_ANYBODY, GROUP_BITS
from terway.lab.vpc.state import VpcState
from terway.model.errors import UsageError
from terway.model.ids import SecurityGroupId, VpcId

_VPCS_MAX = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The numbers of VPCs and of security groups (the bit in a port's `groups`)."""

    vpcs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def vpc(self, vpc_id: VpcId) -> int:
        """Return the number of a VPC."""
        return self.vpcs[vpc_id]

    def group(self, group_id: SecurityGroupId) -> int:
        """Return the bit of a security group."""
        return self.groups[group_id]

    def after(self, state: VpcState) -> Numbers:
        """Return the numbers for `state`; ids that are in both keep theirs."""
        return Numbers(
            vpcs=_renumber(_vpc_ids(state), self.vpcs, first=1, limit=_VPCS_MAX, what="VPCs"),
            groups=_renumber(
                _group_ids(state),
                self.groups,
                first=GROUP_ANYBODY + 1,
                limit=GROUP_BITS,
                what="security groups",
            ),
        )


def _vpc_ids(state: VpcState) -> Iterable[str]:
    return {v.vpc_id for v in state.vswitches} | {r.vpc_id for r in state.routes}


def _group_ids(state: VpcState) -> Iterable[str]:
    # A rule may name a group that no ENI is in, or that is gone: it has no members.
    return {g.id for g in state.security_groups} | {
        rule.peer
        for group in state.security_groups
        for rule in group.rules
        if isinstance(rule.peer, str)
    }


def _renumber(
    ids: Iterable[str], before: Mapping[str, int], *, first: int, limit: int, what: str
) -> Mapping[str, int]:
    wanted = sorted(ids)
    if len(wanted) > limit - first:
        raise UsageError(
            f"{len(wanted)} {what} in the lab; the fabric has room for {limit - first}",
            field="vpc_state",
        )
    kept = {name: before[name] for name in wanted if name in before}
    used, recent = set(kept.values()), set(before.values())
    fresh = [n for n in range(first, limit) if n not in used and n not in recent]
    again = [n for n in range(first, limit) if n not in used and n in recent]
    free = iter([*fresh, *again])
    return MappingProxyType({n: kept[n] if n in kept else next(free) for n in wanted})
