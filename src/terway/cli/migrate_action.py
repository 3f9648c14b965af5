"""What is one step of a migration, in words and for who does it, and what is wanted?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from terway.cli.migrate_cluster import NAMESPACE, SAVED, Hook, Job, Taken, Workload

DAEMON_SET, DEPLOYMENT = "DaemonSet", "Deployment"


class Do(Enum):
    """The ways in which a cluster is changed; WAIT changes nothing, REFUSE ends the run."""

    SAVE = "save"
    KEEP_APART = "keep apart"
    SCALE_DOWN = "scale down"
    OPEN = "open"
    HOLD = "hold"
    RELEASE = "release"
    REMOVE_HOOK = "remove webhook"
    REMOVE = "remove"
    APPLY = "apply"
    LABEL = "label"
    RUN = "run"
    CLEAR = "clear"
    REFUSE = "refuse"
    RESTORE = "restore"
    FORGET = "forget"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do, in words and for who does it. `remedy`: what to look at when it fails."""

    do: Do
    text: str
    remedy: str = ""
    workload: Workload | None = None
    hook: Hook | None = None
    node: str = ""
    taken: Taken = Taken.NO
    job: Job = Job.CHECK


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted. `applied` names our manifests; of no `nodes`, all are meant.

    `is_asked`: they have a control plane that answers a webhook.
    `is_finishing`: upstream's DaemonSets go, too, and with them the easy way back.
    """

    applied: str = ""
    nodes: tuple[str, ...] = ()
    is_asked: bool = False
    is_finishing: bool = False

    def has(self, node: str) -> bool:
        """Return whether a node is meant."""
        return not self.nodes or node in self.nodes


def removal(one: Workload) -> Action:
    """Return what removes a workload; of one that is being removed, that its pods end."""
    look = f"kubectl -n {NAMESPACE} get {one.kind.lower()} {one.name} -o yaml"
    if one.is_going:
        return Action(do=Do.WAIT, text=f"{one}: its pods end", remedy=look)
    kept = "" if one.is_ours else f"; it is in {SAVED}"
    return Action(do=Do.REMOVE, text=f"{one}: removed{kept}", remedy=look, workload=one)
