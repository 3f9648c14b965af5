"""terway-cli policy status: is each policy in force, on every node that has pods it selects?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import find_place, place_options
from terway.cli.policy_objects import Manifests, manifests_of
from terway.cli.policy_progress import telling
from terway.cli.policy_read import read_objects
from terway.cli.policy_source import json_option
from terway.cli.read_kube import open_client
from terway.cli.table import counted, print_json, print_lines, table_lines, wrapped
from terway.kube.policy_status import POLICY_NODE_STATUSES, PolicyInForce, PolicyNodeStatus
from terway.model.errors import ConflictError
from terway.policy.asking.representatives import selects
from terway.policy.cluster import Pod
from terway.policy.policies import ClusterPolicy, Policy

_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """One policy over all nodes. `nodes` have pods that it selects; `in_force` says it is, there.

    `stale` nodes have an older generation, or say nothing; `faulty` ones cannot have it: `messages`
    say why. `generation` is what the API has now.
    """

    policy: str
    generation: int
    pods: int = 0
    nodes: tuple[str, ...] = ()
    in_force: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    faulty: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Return whether it is in force wherever it should be."""
        return len(self.in_force) == len(self.nodes) and not self.messages


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """All policies, and the nodes that tell nothing right: why, by name."""

    policies: tuple[PolicyState, ...]
    nodes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Return whether everything is in force."""
        return not self.nodes and all(one.is_well for one in self.policies)


@click.command("status")
@json_option
@place_options
def command(*, as_json: bool, **where: str) -> None:
    """Show on how many nodes each policy is in force, of those that have pods it selects.

    Exit code 1 when one is not, or cannot be; 3 when the API server does not answer.
    """
    with telling("reading the cluster"):
        manifests = manifests_of(read_objects((), **where))
        state = state_of(manifests, asyncio.run(_statuses(**where)))
    if as_json:
        print_json(state)
    else:
        print_lines(state_lines(state))
    raise SystemExit(OK if state.is_well else FOUND)


async def _statuses(**where: str) -> tuple[PolicyNodeStatus, ...]:
    async with open_client(find_place(**where)) as client:
        try:
            return (await client.list(POLICY_NODE_STATUSES)).items
        except ConflictError:
            return ()  # the cluster does not know the kind: no node can tell


def state_of(manifests: Manifests, statuses: Iterable[PolicyNodeStatus]) -> ClusterState:
    """Return what the nodes say of the policies, joined with what the API has."""
    told = {one.metadata.name: one for one in statuses}
    by_key = {
        (name, line.kind, line.namespace, line.name): line
        for name, status in told.items()
        for line in status.status.policies
    }
    policies = sorted(manifests.policies, key=lambda one: str(one.key))
    return ClusterState(
        policies=tuple(_state(one, _affected(one, manifests), by_key) for one in policies),
        nodes={name: why for name, status in sorted(told.items()) if (why := _trouble(status))},
    )


def _trouble(status: PolicyNodeStatus) -> str:
    report = status.status
    if report.message:
        return report.message
    differences = counted(report.differences, "difference")
    return f"{differences} from what policies say" * bool(report.differences)


def _affected(policy: Policy, manifests: Manifests) -> Mapping[str, list[Pod]]:
    """Return the pods that a policy selects, by node; those that are nowhere yet are left out."""
    found: dict[str, list[Pod]] = {}
    for pod in manifests.cluster.pods.values():
        space = manifests.cluster.namespaces.get(pod.key.namespace)
        labels = space.labels if space is not None else _NO_LABELS
        if pod.node is None or pod.is_host_network or pod.is_finished:
            continue
        if selects(policy, pod, labels):
            found.setdefault(pod.node, []).append(pod)
    return found


def _state(
    policy: Policy, affected: Mapping[str, list[Pod]], told: Mapping[Any, PolicyInForce]
) -> PolicyState:
    key = policy.key
    lines = {
        node: told.get((node, key.kind.value, key.namespace, key.name)) for node in sorted(affected)
    }
    current = {node for node, line in lines.items() if line and _is_current(line, policy)}
    faulty = {node for node in current if (line := lines[node]) and not line.in_force}
    cautions = policy.cautions if isinstance(policy, ClusterPolicy) else ()
    said = (line.message for line in lines.values() if line)
    messages = dict.fromkeys(one for one in (policy.fault, *cautions, *said) if one)
    return PolicyState(
        policy=str(key),
        generation=policy.generation,
        pods=sum(map(len, affected.values())),
        nodes=tuple(lines),
        in_force=tuple(node for node in lines if node in current - faulty),
        stale=tuple(node for node in lines if node not in current),
        faulty=tuple(node for node in lines if node in faulty),
        messages=tuple(messages),
    )


def _is_current(line: PolicyInForce, policy: Policy) -> bool:
    is_same = line.uid in ("", policy.uid) or not policy.uid
    return is_same and line.generation == policy.generation


def state_lines(state: ClusterState) -> list[str]:
    """Return the lines for a person."""
    if not state.policies:
        return ["no policy in this cluster"]
    heads = ("POLICY", "GENERATION", "PODS", "IN FORCE", "STALE", "FAULTY")
    rows = [
        (
            one.policy,
            str(one.generation),
            str(one.pods),
            f"{len(one.in_force)}/{len(one.nodes)} nodes",
            str(len(one.stale)),
            str(len(one.faulty)),
        )
        for one in state.policies
    ]
    lines = table_lines(heads, rows)
    for one in state.policies:
        if one.stale:
            lines += wrapped(f"{one.policy}: not yet on {', '.join(one.stale)}")
        for message in one.messages:
            lines += wrapped(f"{one.policy}: {message}")
    for node, why in state.nodes.items():
        lines += wrapped(f"node {node}: {why}")
    return lines
