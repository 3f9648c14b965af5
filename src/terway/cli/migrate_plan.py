"""In which steps does a cluster move from upstream Terway, what changes, and what can go wrong?

config ─► custom resources ─► control plane ─► node by node: agent exchanged, pods proved ─► rest

A plan is made of what was read, and changes nothing. Each step says whether it is done already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from terway.cli.migrate_cluster import LABEL
from terway.cli.migrate_world import ClusterWorld, NodeWorld, PodFate, Workload, World
from terway.cli.table import counted
from terway.config.agent_config import read_agent_config_into
from terway.config.findings import Report
from terway.datapath.takeover import Outcome

_NAMED = 5
_INSTALL = (
    "helm upgrade --install terway deploy/chart/terway -n kube-system -f values.yaml "
    f"--set-string agent.nodeSelector.{LABEL.replace('.', chr(92) + '.')}=true"
)
_APART = "--type=json --patch-file deploy/migration/upstream-apart.json"


class State(Enum):
    """Where a step is."""

    TODO = "todo"
    DONE = "done"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `changes` says what becomes other than it is, `risk` what running pods notice."""

    title: str
    state: State
    changes: tuple[str, ...] = ()
    risk: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPlan:
    """All steps in their order, and what could not be read."""

    steps: tuple[Step, ...]
    unread: tuple[str, ...] = ()

    @property
    def is_blocked(self) -> bool:
        """Return whether a step cannot be taken as things are."""
        return any(one.state is State.BLOCKED for one in self.steps)


def plan_migration(world: World, *, nodes: Collection[str] = ()) -> MigrationPlan:
    """Return the steps from what there is to a cluster that is ours; of `nodes` only, if named.

    As long as only some nodes are meant, what upstream has for the others stays.
    """
    steps = list(_config_steps(world))
    if world.cluster is not None:
        steps += [_resources_step(world.cluster), _agents_step(world.cluster)]
        steps.append(_control_plane_step(world.cluster))
    looked_into = {one.name: one for one in world.nodes if not nodes or one.name in nodes}
    steps += map(_node_step, looked_into.values())
    if world.cluster is not None:
        wanted = [one for one in world.cluster.nodes if not nodes or one in nodes]
        others = [one for one in wanted if one not in looked_into]
        steps += _other_nodes(others, are_others=bool(looked_into))
        if not nodes:
            steps.append(_rest_step(world.cluster))
    return MigrationPlan(steps=tuple(steps), unread=world.unread)


def _config_steps(world: World) -> Iterator[Step]:
    """Check eni-config as terwayd will: every refusal, and what has another effect here."""
    config = dict(world.cluster.config) if world.cluster is not None else {}
    for node in world.nodes[:1]:
        config = config or dict(node.config)
    if not config and not world.nodes:
        return
    report = Report()
    read_agent_config_into(report, config)
    refused = [f"refused: {one}" for one in report.refusals]
    cautions = [f"caution: {one}" for one in report.cautions]
    kept = [
        f"not read any more: node_capabilities {key}={value}"
        for node in world.nodes[:1]
        for key, value in _odd(node)
    ]
    yield Step(
        title="check ConfigMap kube-system/eni-config",
        state=State.BLOCKED if refused else State.DONE,
        changes=(*refused, *cautions, *kept),
        risk="none: it is read, and stays as it is",
        command="terway-cli validate /etc/eni" if refused else "",
    )


def _odd(node: NodeWorld) -> Iterator[tuple[str, str]]:
    """Yield what upstream keeps in its file of capabilities and we decide otherwise."""
    for key in (
        "datapath",
        "network_policy_provider",
        "has_cilium_chainer",
        "kube_proxy_replacement",
    ):
        if node.capabilities.get(key):
            yield key, node.capabilities[key]


def _resources_step(cluster: ClusterWorld) -> Step:
    held = ", ".join(counted(one.count, one.kind) for one in cluster.carried if one.count)
    versions = ", ".join(f"{name} {one}".strip() for name, one in sorted(cluster.crds.items()))
    return Step(
        title="custom resources and webhook",
        state=State.TODO,
        changes=(
            f"definitions stay, the control plane adds fields: {versions or 'none yet'}",
            f"objects stay, with names, finalizers and tags: {held or 'none'}",
            *(line for one in cluster.carried for line in one.lines()),
            *(f"webhook configuration {name}: replaced by ours" for name in cluster.webhooks),
        ),
        risk="pods that are created meanwhile wait for the webhook, if a network is for them",
    )


def _control_plane_step(cluster: ClusterWorld) -> Step:
    theirs = [one for one in cluster.workloads if one.kind == "Deployment" and not one.is_ours]
    ours = [one for one in cluster.workloads if one.kind == "Deployment" and one.is_ours]
    risk = "new pods with a PodENI wait until ours has the lease; others notice nothing"
    if read_agent_config_into(Report(), cluster.config).eni.is_centralized:
        # Upstream's daemons wait for its control plane to say which pod has which address.
        risk += f"; new pods of other kinds wait on nodes without {LABEL}=true, until they have it"
    return Step(
        title="control plane",
        state=State.DONE if ours and not theirs else State.TODO,
        changes=(
            *(f"{_said(one)}: deleted, for ours has its name" for one in theirs),
            "PodENIs and fixed addresses: read from the custom resources, nothing is made anew",
        ),
        risk=risk,
        command="" if ours and not theirs else " && ".join((*_deletions(theirs), _INSTALL)),
    )


def _deletions(workloads: Iterable[Workload]) -> Iterator[str]:
    for one in workloads:
        yield f"kubectl -n {one.namespace} delete {one.kind.lower()} {one.name}"


def _agents_step(cluster: ClusterWorld) -> Step:
    """Have a label of the node say whose agent it has."""
    theirs = [one for one in cluster.workloads if one.kind == "DaemonSet" and not one.is_ours]
    due = [one for one in theirs if not one.is_apart]
    return Step(
        title="agents side by side, by a label of the node",
        state=State.TODO if due else State.DONE,
        changes=tuple(f"{_said(one)}: not where {LABEL}=true" for one in theirs),
        risk="upstream's agents start again, one after the other; no pod notices" if due else "",
        command=" && ".join(
            f"kubectl -n {one.namespace} patch daemonset {one.name} {_APART}" for one in due
        ),
    )


def _said(one: Workload) -> str:
    return f"{one.kind} {one.namespace}/{one.name} ({one.image})"


def _node_step(node: NodeWorld) -> Step:
    by = {outcome: [one for one in node.fates if one.outcome is outcome] for outcome in Outcome}
    if node.is_taken or (node.held and not node.records):
        return _taken_step(node)
    return Step(
        title=f"node {node.name}",
        state=State.BLOCKED if node.held else State.TODO,
        changes=tuple(_node_changes(node, by[Outcome.TAKEN], by[Outcome.GONE])),
        risk=_node_risk(node, by[Outcome.LEFT_ALONE]),
        command=_node_command(node),
    )


def _taken_step(node: NodeWorld) -> Step:
    """Say whether a node that was taken over is as it was promised."""
    kept = f"{counted(node.held, 'pod')} in our journal"
    lost = tuple(f"has another address, or none: {pod}" for pod in node.lost)
    return Step(
        title=f"node {node.name}: taken over",
        state=State.BLOCKED if lost else State.DONE,
        changes=(kept, *(lost or ("every pod of upstream that runs has its address",))),
        command="terway-cli doctor   # on the node" if lost else "",
    )


def _node_changes(node: NodeWorld, taken: list[PodFate], gone: list[PodFate]) -> Iterator[str]:
    if node.held:
        yield "terway.db has pods already: upstream's journal is not read over it"
    if taken:
        yield f"{counted(len(taken), 'pod')} taken over, with addresses, MACs, routes and rules"
    for one in node.fates:
        if one.outcome is Outcome.LEFT_ALONE:
            yield f"left alone, until it is restarted: {one.pod}: {one.why}"
    if gone:
        names = ", ".join(one.pod for one in gone[:_NAMED])
        yield f"{counted(len(gone), 'record')} of pods that are gone: {names}"
    yield "added to each pod's link: guard against foreign addresses, gateway addresses"
    if node.conflist:
        yield f"10-terway.conflist: list {node.conflist!r} is replaced; ResRelation.db stays"
    for name in node.kept:
        yield f"{name} stays, and is not read: it is written anew on the way back"
    if node.links:
        names = ", ".join(node.links)
        yield f"links of upstream's data path: {names}"
    yield from (f"removed, when our policies are in force: {line}" for line in node.remains)
    if any(one.outcome is Outcome.LEFT_ALONE for one in node.fates) and node.remains:
        yield "what is Cilium's goes when the last pod that is left alone has gone"


def _node_risk(node: NodeWorld, left: list[PodFate]) -> str:
    risk = "none for running pods; ADD and DEL wait while the agent is exchanged"
    if not node.has_living_hooks:
        risk = (
            "this kernel (before 6.6) loses packets to a pod for some ms, while its guard is added"
        )
    if left:
        risk += f"; {counted(len(left), 'pod')} left alone, whose programs nobody updates"
    return risk


def _node_command(node: NodeWorld) -> str:
    if node.held:
        return "terway-cli migrate --back --yes   # on the node, then once more"
    return f"kubectl label node {node.name} {LABEL}=true"


def _other_nodes(names: Sequence[str], *, are_others: bool) -> Iterator[Step]:
    """Yield the step of the nodes that can be looked into only from themselves."""
    if names:
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        yield Step(
            title=f"{counted(len(names), 'other node' if are_others else 'node')}: {shown}",
            state=State.TODO,
            changes=("one after the other; what becomes of their pods is shown on each of them",),
        )


def _rest_step(cluster: ClusterWorld) -> Step:
    theirs = [one for one in cluster.workloads if one.kind == "DaemonSet" and not one.is_ours]
    return Step(
        title="what is left of upstream",
        state=State.TODO if theirs else State.DONE,
        changes=tuple(f"{_said(one)}: deleted, when every node is ours" for one in theirs),
        risk="with it goes the way back without a new installation of upstream" if theirs else "",
        command=" && ".join(_deletions(theirs)),
    )
