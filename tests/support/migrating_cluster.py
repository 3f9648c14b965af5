"""Upstream's cluster on paper, and the migration of it step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from terway.cli.migrate_action import Action, Do, Goal
from terway.cli.migrate_cluster import NAMESPACE, SAVED, Taken
from terway.cli.migrate_do import Performer
from terway.cli.migrate_run import Next, Pace, go_through
from terway.cli.migrate_seen import KINDS, NODES, PODS, read_cluster
from terway.cli.migrate_whole import name_of, rendered
from terway.kube.client import KubeClient
from terway.lab.kubeapi.manifests import apply_manifests
from terway.lab.kubeapi.state import ClusterState
from tests.support.kube_server import KubeServer
from tests.support.upstream_objects import control_plane, daemon_set, eni_config

SETTINGS = (
    "regionID=cn-hangzhou",
    "clusterID=c1",
    "vpcID=vpc-1",
    "vSwitches={cn-hangzhou-i: [vsw-1]}",
    "securityGroupIDs=[sg-1]",
    "serviceCIDR=172.16.0.0/16",
)
FAST = Pace(look_every_s=0.01, patience_s=20.0)
KEPT = ("DaemonSet", "Deployment", "ClusterRole", "ConfigMap", "Service")


class KilledError(Exception):
    """The process ended, right after a step took effect."""


@dataclass
class Cluster:
    """Upstream's cluster on paper; a pod of the way back does what `fails` says."""

    state: ClusterState
    client: KubeClient
    goal: Goal
    performer: Performer
    told: list[str] = field(default_factory=list)
    fails: bool = False
    kills: bool = False

    async def perform(self, action: Action) -> None:
        await self.performer.perform(action)
        if action.do is Do.RUN:
            phase = "Failed" if self.fails else "Succeeded"
            name = f"{SAVED}-{action.job.value}-{action.node}"
            body = {"status": {"phase": phase}}
            await self.client.patch(PODS, name, body, namespace=NAMESPACE, subresource="status")
        if self.kills:
            raise KilledError

    async def log_of(self, action: Action) -> str:
        return "default/fast: it is an IPvlan child"

    async def go(self, next_of: Next, goal: Goal | None = None) -> tuple[Action, ...]:
        async def read() -> Any:
            return await read_cluster(self.client)

        wanted = self.goal if goal is None else goal
        told = lambda action: self.told.append(action.text)  # noqa: E731
        return await go_through(read, self, next_of, wanted, told=told, pace=FAST)

    async def step(self, next_of: Next, goal: Goal | None = None) -> Action | None:
        """Do the next step, and return it; None when there is none."""
        action = next_of(await read_cluster(self.client), self.goal if goal is None else goal)
        if action is not None and action.do is not Do.WAIT:
            await self.perform(action)
        return action

    async def objects(self) -> dict[str, Any]:
        """Return what there is of either Terway, as far as it is anybody's wish."""
        found = {}
        for kind in (*KEPT, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            for one in (await self.client.list(KINDS[kind])).items:
                if one["metadata"]["name"].startswith(("terway", "eni-config")):
                    name = f"{kind}/{one['metadata']['name']}"
                    found[name] = one.get("spec") or one.get("rules") or one.get("data")
                    if "webhooks" in one:
                        found[name] = one["webhooks"]
        return found

    async def labels(self) -> dict[str, Taken]:
        return {one.name: one.taken for one in (await read_cluster(self.client)).members}


@asynccontextmanager
async def open_migration(server: KubeServer, *more: Any) -> AsyncIterator[Cluster]:
    """Let a served cluster be upstream's, with `more` of its objects."""
    for one in (eni_config(), daemon_set(), *control_plane(), *more):
        apply_manifests(server.state, yaml.safe_dump(one))
    manifests = rendered((), SETTINGS)
    applied = name_of(manifests)
    async with KubeClient(server.unix) as client:
        for name in ("node-1", "node-2"):
            labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            await client.patch(NODES, name, {"metadata": {"labels": labels}})
        performer = Performer(client=client, manifests=manifests, applied=applied)
        goal = Goal(applied=applied, is_asked=True)
        yield Cluster(state=server.state, client=client, goal=goal, performer=performer)
