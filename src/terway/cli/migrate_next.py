"""What is the next thing to do for upstream's cluster to be ours? Pure.

    save ─► apart ─► its webhooks held, its control plane down ─► ours ─► node by node ─► the rest

Nothing is remembered between two steps: the next one follows from what the cluster shows. So a
migration that was killed anywhere goes on where it was, and a step that is done is not done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from terway.cli.migrate_action import DAEMON_SET, DEPLOYMENT, Action, Do, Goal, removal
from terway.cli.migrate_cluster import (
    LABEL,
    NAMESPACE,
    SAVED,
    Agent,
    Cluster,
    Member,
    Taken,
    Workload,
)


def next_forward(cluster: Cluster, goal: Goal) -> Action | None:
    """Return the next step from upstream's cluster to ours; None when it is there."""
    theirs = cluster.of(DAEMON_SET, ours=False)
    steps = (
        *_prepare(cluster, theirs),
        *_replace_control_plane(cluster, goal),
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


def _replace_control_plane(cluster: Cluster, goal: Goal) -> Iterator[Action]:
    """Upstream's webhooks are held, it ends, then its object goes, whose name ours has.

    Where nobody of ours would answer them they go, after their control plane.
    """
    theirs = [one for one in cluster.hooks if not one.is_ours]
    for one in cluster.of(DEPLOYMENT, ours=False):
        look = f"kubectl -n {NAMESPACE} get deployment,pods; back: terway-cli migrate --back"
        for hook in theirs if goal.is_asked else ():
            text = f"{hook}: whoever asks for a network is not let in without an answer any more"
            yield Action(do=Do.HOLD, text=text, remedy=look, hook=hook)
        if one.replicas:
            text = f"{one}: to 0 replicas; new pods with a PodENI wait for ours"
            yield Action(do=Do.SCALE_DOWN, text=text, remedy=look, workload=one)
        if one.pods:
            yield Action(do=Do.WAIT, text=f"{one}: its pods end", remedy=look)
        for hook in theirs:
            text = f"{hook}: removed; ours answers none"
            yield Action(do=Do.REMOVE_HOOK, text=text, remedy=look, hook=hook)
        yield removal(one)


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
        yield removal(one)
    for one in cluster.of(DAEMON_SET, ours=True):
        if one.is_apart:
            text = f"{one}: on every node, on those that come later, too"
            yield Action(do=Do.OPEN, text=text, workload=one)
