"""What is the next thing to do for a cluster, or a node, to be upstream's again? Pure.

    node: YES ─► check ─► RETURNING, our agent leaves ─► journal, kernel ─► NO, theirs comes
    the rest: our workloads ─► upstream's objects ─► its webhooks, once it answers them

Nothing is remembered between two steps, as on the way there (`migrate_next`).
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.migrate_action import DAEMON_SET, Action, Do, Goal, removal
from terway.cli.migrate_cluster import (
    LABEL,
    NAMESPACE,
    SAVED,
    Agent,
    Cluster,
    Job,
    Member,
    Phase,
    Taken,
)


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
            yield removal(workload)
    look = f"kubectl -n {NAMESPACE} get configmap {SAVED} -o yaml"
    theirs = tuple(one for one in cluster.workloads if not one.is_ours)
    if not theirs or any(one.is_apart for one in theirs):
        text = f"upstream's objects as they were, from {SAVED}"
        yield Action(do=Do.RESTORE, text=text, remedy=look)
    for one in theirs:
        if not one.is_settled:
            whose = "its agents" if one.kind == DAEMON_SET else "its pods"
            text = f"{one}: {whose} start again, one after the other; pods go on"
            yield Action(do=Do.WAIT, text=text, remedy=look)
    for hook in cluster.hooks:
        if hook.is_ours:  # it fails closed until upstream answers
            yield Action(do=Do.RELEASE, text=f"{hook}: as it was", remedy=look, hook=hook)
    yield Action(do=Do.FORGET, text=f"ConfigMap {NAMESPACE}/{SAVED}: removed", remedy=look)
