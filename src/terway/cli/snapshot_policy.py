"""What is known of policies on a node at one moment? A part of the snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDifference:
    """Where a table is not as policies say: the node's own, or that inside of a pod."""

    where: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAgent:
    """terwayd's own word. `age_s` is that of its last comparison, None before the first.

    `trouble` says why not all is in force, `failure` why it could not compare; `silent` are the
    kinds that the API server does not tell of. `faults` are policies that cannot be read, and why.
    """

    is_synced: bool
    trouble: str = ""
    silent: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    failure: str = ""
    age_s: float | None = None
    adoptions: int = 0
    restricted_pods: int = 0
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTold:
    """What the node's PolicyNodeStatus says of one policy."""

    policy: str
    generation: int
    pods: int
    in_force: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApi:
    """What the API says. `generations` are those of all policies, by kind and name.

    `told` is None where the node has no PolicyNodeStatus. `quiet_nodes` have none, though others
    do: nobody there says that policies are enforced.
    """

    generations: dict[str, int]
    told: tuple[PolicyTold, ...] | None = None
    observed_at: str = ""
    quiet_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """Policies on this node. `is_wanted` by the configuration; `others` are engines with chains.

    `differences` were found without terwayd, because it did not compare; `failure` says why they
    could not be looked for.
    """

    is_wanted: bool
    has_table: bool
    agent: PolicyAgent | None = None
    api: PolicyApi | None = None
    others: tuple[str, ...] = ()
    differences: tuple[PolicyDifference, ...] = ()
    failure: str = ""
    in_maps: bool = False  # of the data path in eBPF, in place of a table
