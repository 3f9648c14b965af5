"""What of a cluster decides the next step of its migration? As its API server showed it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LABEL = "terway.alibabacloud.com/taken-over"  # of a node, with a value of `Taken`
APPLIED = "terway.alibabacloud.com/applied"  # annotation of what was applied: of which manifests
SAVED = "terway-migration"  # ConfigMap: upstream's objects as they were
NAMESPACE = "kube-system"


class Taken(Enum):
    """Whose a node is, by its label. RETURNING: nobody's agent runs there."""

    NO = ""
    YES = "true"
    RETURNING = "returning"


class Agent(Enum):
    """How far an agent's pod on a node is."""

    NONE = "none"
    COMING = "not ready"
    READY = "ready"
    GOING = "ending"


class Job(Enum):
    """What a pod of ours does on a node during the way back; the value is in the pod's name."""

    CHECK = "check"
    RETURN = "return"


class Phase(Enum):
    """How far such a pod is."""

    NONE = "none"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A DaemonSet or Deployment. `replicas` is None for a DaemonSet.

    `is_apart`: keeps off nodes that are not its side's. `is_settled`: every pod that it wants is
    of its newest template, and ready. `is_going`: it is deleted, and its pods end.
    """

    kind: str
    name: str
    is_ours: bool
    replicas: int | None = None
    pods: int = 0
    is_apart: bool = False
    is_settled: bool = True
    is_going: bool = False
    applied: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {NAMESPACE}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook configuration."""

    kind: str
    name: str
    is_ours: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster, with the agents of both sides on it, and our pods of the way back."""

    name: str
    taken: Taken = Taken.NO
    theirs: Agent = Agent.NONE
    ours: Agent = Agent.NONE
    check: Phase = Phase.NONE
    returning: Phase = Phase.NONE

    def phase_of(self, job: Job) -> Phase:
        """Return how far the pod of a job is."""
        return self.check if job is Job.CHECK else self.returning


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All of it. `is_saved`: upstream's objects are kept in a ConfigMap."""

    workloads: tuple[Workload, ...] = ()
    hooks: tuple[Hook, ...] = ()
    members: tuple[Member, ...] = ()
    is_saved: bool = False

    def of(self, kind: str, *, ours: bool) -> tuple[Workload, ...]:
        """Return one side's workloads of a kind."""
        return tuple(one for one in self.workloads if one.kind == kind and one.is_ours is ours)
