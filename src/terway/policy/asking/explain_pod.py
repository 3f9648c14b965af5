"""What do all policies together say at one pod: who decides, who gets in, what may it reach?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terway.model.errors import UsageError
from terway.policy.asking.matrix_groups import Group, Pair, world_of
from terway.policy.asking.matrix_ports import PortMatrix
from terway.policy.asking.matrix_rules import is_about
from terway.policy.asking.representatives import Holder, is_own_node
from terway.policy.cluster import PodKey
from terway.policy.policies import Direction, Policy
from terway.policy.ports import PortSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """The others on the same ports. `sides` are what the pod's own side lets through."""

    others: tuple[Group, ...]
    ports: PortSet
    own: PortSet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sum:
    """All that is said in one direction of a pod; `reaches` folds others with equal ports."""

    direction: Direction
    policies: tuple[Policy, ...]
    reaches: tuple[Reach, ...]


def sums(policies: Iterable[Policy], holders: Iterable[Holder], key: PodKey) -> tuple[Sum, Sum]:
    """Return what is said at the pod on ingress and egress. Raises UsageError without the pod."""
    matrix = PortMatrix(policies)

    def is_it(holder: Holder) -> bool:
        return holder.pod is not None and holder.pod.key == key

    holders = tuple(holders)
    here = [one for one in holders if is_it(one)]

    def tell(holder: Holder) -> tuple[bool, bool]:
        return is_it(holder), any(is_own_node(one, holder) for one in here)

    world = world_of(holders, (matrix,), tell=tell)
    mine = [group for group in world.groups if is_it(group.first)]
    if not mine:
        raise UsageError(f"pod {key} is not in the cluster, or has no address: name one that is")
    into = [pair for one in mine for other in world.groups for pair in world.pairs_of(other, one)]
    out = [pair for one in mine for other in world.groups for pair in world.pairs_of(one, other)]
    return _sum(matrix, mine[0], Direction.INGRESS, into), _sum(
        matrix, mine[0], Direction.EGRESS, out
    )


def _sum(matrix: PortMatrix, group: Group, direction: Direction, pairs: Iterable[Pair]) -> Sum:
    is_ingress = direction is Direction.INGRESS
    row = group.ingress[0] if is_ingress else group.egress[0]
    folded: dict[tuple[PortSet, PortSet], list[Group]] = {}
    for pair in pairs:
        own = pair.ingress(0, matrix) if is_ingress else pair.egress(0, matrix)
        other = pair.source if is_ingress else pair.destination
        folded.setdefault((pair.ports(0, matrix), own), []).append(other)
    return Sum(
        direction=direction,
        policies=tuple(one for one in matrix.policies_of_row(row) if is_about(one, direction)),
        reaches=tuple(
            Reach(others=tuple(dict.fromkeys(others)), ports=ports, own=own)
            for (ports, own), others in folded.items()
        ),
    )
