"""What is the next thing to do for a cluster to be ours, or upstream's again? Pure.

    save ─► apart ─► their control plane down, its webhooks ─► ours ─► node by node ─► the rest
    node: YES ─► check ─► RETURNING, our agent leaves ─► journal, kernel ─► NO, theirs comes

Nothing is remembered between two steps: the next one follows from what the cluster shows. So a
migration that was killed anywhere goes on where it was, and a step that is done is not done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum

from terway.cli.migrate_cluster import (
    LABEL,
    NAMESPACE,
    SAVED,
    Agent,
    Cluster,
    Hook,
    Job,
    Member,
    Phase,
    Taken,
    Workload,
)

DAEMON_SET, DEPLOYMENT = "DaemonSet", "Deployment"


class Do(Enum):
    """The ways in which a cluster is changed; WAIT changes nothing, REFUSE ends the run."""

    SAVE = "save"
    KEEP_APART = "keep apart"
    SCALE_DOWN = "scale down"
    OPEN = "open"
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

    `is_finishing`: upstream's DaemonSets go, too, and with them the easy way back.
    """

    applied: str = ""
    nodes: tuple[str, ...] = ()
    is_finishing: bool = False

    def has(self, node: str) -> bool:
        """Return whether a node is meant."""
        return not self.nodes or node in self.nodes


def next_forward(cluster: Cluster, goal: Goal) -> Action | None:
    """Return the next step from upstream's cluster to ours; None when it is there."""
    theirs = cluster.of(DAEMON_SET, ours=False)
    steps = (
        *_prepare(cluster, theirs),
        *_replace_control_plane(cluster),
        *_apply(cluster, goal),
        *(step for one in cluster.members if goal.has(one.name) for step in _take(one, theirs)),
        *(_finish(cluster, theirs) if goal.is_finishing else ()),
    )
    return steps[0] if steps else None


def _prepare(cluster: Cluster, theirs: Collection[Workload]) -> Iterator[Action]:
    if not cluster.is_saved and any(not one.is_ours for one in cluster.workloads):
        yield Action(
            do=Do.SAVE,
            text=f"keep upstream's objects in ConfigMap {NAMESPACE}/{SAVED}",
            remedy="may this account create ConfigMaps in kube-system? nothing else was changed",
        )
    for one in theirs:
        if not one.is_apart:
            yield Action(
                do=Do.KEEP_APART,
                text=f"{one}: not where a node has the label {LABEL}",
                remedy=f"kubectl -n {NAMESPACE} describe daemonset {one.name}",
                workload=one,
            )
    for one in theirs:
        if not one.is_settled:
            yield Action(
                do=Do.WAIT,
                text=f"{one}: its agents start again, one after the other; pods go on",
                remedy=f"kubectl -n {NAMESPACE} rollout status daemonset/{one.name}",
            )


def _replace_control_plane(cluster: Cluster) -> Iterator[Action]:
    """Upstream's first ends, then its webhooks go, then its object, whose name ours has."""
    for one in cluster.of(DEPLOYMENT, ours=False):
        look = f"kubectl -n {NAMESPACE} get deployment,pods; back: terway-cli migrate --back"
        if one.replicas:
            text = f"{one}: to 0 replicas; new pods with a PodENI wait for ours"
            yield Action(do=Do.SCALE_DOWN, text=text, remedy=look, workload=one)
        if one.pods:
            yield Action(do=Do.WAIT, text=f"{one}: its pods end", remedy=look)
        for hook in cluster.hooks:
            if not hook.is_ours:
                text = f"{hook}: removed; ours makes its own"
                yield Action(do=Do.REMOVE_HOOK, text=text, remedy=look, hook=hook)
        yield _removal(one)


def _removal(one: Workload) -> Action:
    """Return what removes a workload; of one that is being removed, that its pods end."""
    look = f"kubectl -n {NAMESPACE} get {one.kind.lower()} {one.name} -o yaml"
    if one.is_going:
        return Action(do=Do.WAIT, text=f"{one}: its pods end", remedy=look)
    kept = "" if one.is_ours else f"; it is in {SAVED}"
    return Action(do=Do.REMOVE, text=f"{one}: removed{kept}", remedy=look, workload=one)


def _apply(cluster: Cluster, goal: Goal) -> Iterator[Action]:
    agents = cluster.of(DAEMON_SET, ours=True)
    if goal.applied and not any(one.applied == goal.applied for one in agents):
        yield Action(
            do=Do.APPLY,
            text=f"ours by server-side apply, agents only where {LABEL}=true",
            remedy="terway-cli validate --values FILE; no node has changed hands by it",
        )
    for one in cluster.of(DEPLOYMENT, ours=True):
        if not one.is_settled:
            yield Action(
                do=Do.WAIT,
                text=f"{one}: not ready",
                remedy=f"kubectl -n {NAMESPACE} logs deployment/{one.name}",
            )


def _take(node: Member, theirs: Collection[Workload]) -> Iterator[Action]:
    """Yield what a node still needs; a way back that was begun ends first."""
    look = (
        f"kubectl -n {NAMESPACE} get pods -o wide --field-selector spec.nodeName={node.name}; "
        f"back: terway-cli migrate --back --node {node.name}"
    )
    if node.taken is Taken.RETURNING:
        text = f"node {node.name} is on its way back"
        yield Action(do=Do.WAIT, text=text, remedy=look)
    elif node.taken is Taken.NO:
        if theirs and node.theirs in (Agent.COMING, Agent.GOING):
            text = f"node {node.name}: upstream's agent is {node.theirs.value}"
            yield Action(do=Do.WAIT, text=text, remedy=look)
        text = f"node {node.name}: labelled {LABEL}=true; agents change places"
        yield Action(do=Do.LABEL, text=text, remedy=look, node=node.name, taken=Taken.YES)
    elif node.theirs is not Agent.NONE:
        yield Action(do=Do.WAIT, text=f"node {node.name}: upstream's agent leaves", remedy=look)
    elif node.ours is not Agent.READY:
        yield Action(do=Do.WAIT, text=f"node {node.name}: ours is not ready yet", remedy=look)


def _finish(cluster: Cluster, theirs: Collection[Workload]) -> Iterator[Action]:
    left = [one.name for one in cluster.members if one.taken is not Taken.YES]
    for one in theirs:
        if left:
            text = f"{one} is needed by nodes that are not ours: {', '.join(left)}"
            yield Action(do=Do.WAIT, text=text, remedy="take them over first: without --node")
        yield _removal(one)
    for one in cluster.of(DAEMON_SET, ours=True):
        if one.is_apart:
            text = f"{one}: on every node, on those that come later, too"
            yield Action(do=Do.OPEN, text=text, workload=one)


def next_back(cluster: Cluster, goal: Goal) -> Action | None:
    """Return the next step back to upstream; None when every node that is meant is there.

    When all nodes are, ours goes, and upstream's objects are as they were.
    """
    steps = (
        *_bring_agents(cluster),
        *(step for one in cluster.members if goal.has(one.name) for step in _return(one)),
        *(_leave(cluster) if all(one.taken is Taken.NO for one in cluster.members) else ()),
    )
    return steps[0] if steps else None


def _bring_agents(cluster: Cluster) -> Iterator[Action]:
    """Yield what brings upstream's DaemonSets back, where the migration was finished.

    Ours has every node then, whatever its label: it is to keep to those that are labelled again.
    """
    for one in cluster.of(DAEMON_SET, ours=True):
        if not one.is_apart and not one.is_going:
            for node in cluster.members:
                if node.taken is Taken.NO and node.ours is not Agent.NONE:
                    text = f"node {node.name}: labelled {LABEL}=true, for it is ours"
                    yield Action(do=Do.LABEL, text=text, node=node.name, taken=Taken.YES)
            text = f"{one}: only where {LABEL}=true"
            yield Action(do=Do.KEEP_APART, text=text, workload=one)
    is_gone = cluster.is_saved and not cluster.of(DAEMON_SET, ours=False)
    if is_gone and any(one.taken is not Taken.NO for one in cluster.members):
        yield Action(
            do=Do.RESTORE,
            text=f"upstream's DaemonSets from {SAVED}, apart from ours",
            remedy=f"kubectl -n {NAMESPACE} get configmap {SAVED} -o yaml",
            taken=Taken.YES,
        )


def _return(node: Member) -> Iterator[Action]:
    match node.taken:
        case Taken.YES:
            yield from _job(node, Job.CHECK, "can every pod go back? nothing is changed")
            text = f"node {node.name}: labelled {LABEL}=returning; our agent leaves"
            yield Action(do=Do.LABEL, text=text, node=node.name, taken=Taken.RETURNING)
        case Taken.RETURNING:
            if node.ours is not Agent.NONE:
                text = f"node {node.name}: our agent is {node.ours.value}"
                look = f"kubectl -n {NAMESPACE} get pods -l app=terway -o wide"
                yield Action(do=Do.WAIT, text=text, remedy=look)
            yield from _job(node, Job.RETURN, "upstream's journal is written, what is ours goes")
            text = f"node {node.name}: without label; upstream's agent comes"
            yield Action(do=Do.LABEL, text=text, node=node.name, taken=Taken.NO)
        case Taken.NO:
            yield from _end_return(node)


def _job(node: Member, job: Job, words: str) -> Iterator[Action]:
    pod = f"{SAVED}-{job.value}-{node.name}"
    match node.phase_of(job):
        case Phase.NONE:
            text = f"node {node.name}: {words}"
            yield Action(do=Do.RUN, text=text, node=node.name, job=job)
        case Phase.RUNNING:
            look = f"kubectl -n {NAMESPACE} describe pod {pod}"
            yield Action(do=Do.WAIT, text=f"node {node.name}: {words}", remedy=look)
        case Phase.FAILED:
            # Its log is read by who runs this, and it is removed: the next run asks again.
            yield Action(
                do=Do.REFUSE,
                text=f"node {node.name}: pod {pod} failed",
                remedy="mend what it says, and run this again",
                node=node.name,
                job=job,
            )
        case Phase.SUCCEEDED:
            return


def _end_return(node: Member) -> Iterator[Action]:
    for job in Job:
        if node.phase_of(job) is not Phase.NONE:
            text = f"node {node.name}: pod of the way back removed"
            yield Action(do=Do.CLEAR, text=text, node=node.name, job=job)
    if node.theirs in (Agent.COMING, Agent.GOING):
        look = f"kubectl -n {NAMESPACE} get pods -o wide"
        text = f"node {node.name}: upstream's agent is {node.theirs.value}"
        yield Action(do=Do.WAIT, text=text, remedy=look)


def _leave(cluster: Cluster) -> Iterator[Action]:
    if not cluster.is_saved:
        return
    for workload in cluster.workloads:
        if workload.is_ours:
            yield _removal(workload)
    for hook in cluster.hooks:
        if hook.is_ours:
            yield Action(do=Do.REMOVE_HOOK, text=f"{hook}: removed", hook=hook)
    look = f"kubectl -n {NAMESPACE} get configmap {SAVED} -o yaml"
    theirs = tuple(one for one in cluster.workloads if not one.is_ours)
    if not theirs or any(one.is_apart for one in theirs):
        text = f"upstream's objects as they were, from {SAVED}"
        yield Action(do=Do.RESTORE, text=text, remedy=look)
    for one in theirs:
        if not one.is_settled:
            text = f"{one}: its agents start again, one after the other; pods go on"
            yield Action(do=Do.WAIT, text=text, remedy=look)
    yield Action(do=Do.FORGET, text=f"ConfigMap {NAMESPACE}/{SAVED}: removed", remedy=look)
