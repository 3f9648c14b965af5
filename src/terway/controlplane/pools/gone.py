"""What becomes of the ENIs of a node that is gone, and of any that nobody owns?

    resource deleted ──► no instance any more? ──no──► look again in a minute: pods may still run
                              │ yes: nobody is asked
                              └──► delete what was made for it ──► finalizer off

    every reading of the VPC ──► ours by tags, with nobody, and nobody's? ──twice──► delete

An ENI is ours when it carries the cluster's id, or was made for an instance that we had. One
reading is not enough: whoever made it may just be writing it down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

import structlog

from terway.controlplane.budget import Turns
from terway.controlplane.controller import DONE, Outcome
from terway.controlplane.pools.ports import FleetPort
from terway.controlplane.pools.readings import Fleet, SharedReadings
from terway.controlplane.pools.settings import CLUSTER_TAG
from terway.controlplane.ports import KubePort
from terway.ipam.settings import CREATOR_TAG, INSTANCE_TAG
from terway.kube.clock import parse_time
from terway.kube.crds import NODE_FINALIZER, NODE_RUNTIMES, POOL_NODES, PoolNode
from terway.kube.types import Node
from terway.model.eni import ENI
from terway.model.errors import ConflictError, ThrottledError, VpcError
from terway.model.ids import ENIId

DELETE = "DeleteNetworkInterface"
POD_CREATOR = ("creator", "terway-controller")
YOUNG_S = 600.0  # until an ENI is that old, its maker may still be at it
_LOOK_AGAIN_S = 60.0

_log = structlog.get_logger("gone")


class Gone:
    """Collects ENIs that nobody owns any more.

    `owned` tells the ENIs that resources of the cluster name; `instances` those it has nodes for.
    """

    def __init__(
        self,
        kube: KubePort,
        cloud: FleetPort,
        readings: SharedReadings,
        budget: Turns,
        *,
        cluster_id: str,
        owned: Callable[[], Collection[str]],
        instances: Callable[[], Collection[str]],
        wall_clock: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._cloud = cloud
        self._readings = readings
        self._budget = budget
        self._cluster_id = cluster_id
        self._owned = owned
        self._instances = instances
        self._wall = wall_clock
        self._suspects: frozenset[ENIId] = frozenset()

    async def leave(self, ours: PoolNode, node: Node | None) -> Outcome:
        """Let a node's resource go, once nothing of it is left in the cloud."""
        name = ours.metadata.name
        if not ours.metadata.deletion_timestamp:
            await self._kube.delete(POOL_NODES, name)
            return Outcome(again_in_s=0.0)
        instance_id = ours.spec.node_metadata.instance_id
        if node is None and instance_id:
            attached, made = await self._readings.enis_of(instance_id)
            if attached:
                _log.info("gone.instance_lives", node=name, instance=instance_id)
                return Outcome(again_in_s=_LOOK_AGAIN_S)
            if made:
                await self._delete_all(made, why=f"node {name} is gone")
                return Outcome(again_in_s=1.0)
        await self._let_go(ours)
        return DONE

    async def _let_go(self, ours: PoolNode) -> None:
        name = ours.metadata.name
        await self._kube.delete(NODE_RUNTIMES, name)
        left = [one for one in ours.metadata.finalizers if one != NODE_FINALIZER]
        try:
            await self._kube.patch(POOL_NODES, name, {"metadata": {"finalizers": left or None}})
        except ConflictError as error:
            if error.code != "NotFound":
                raise

    async def collect(self, fleet: Fleet) -> int:
        """Delete what two readings in a row showed without an owner; return how many."""
        orphans = {eni.id: eni for eni in self._orphans(fleet.loose)}
        doomed = [eni for eni_id, eni in orphans.items() if eni_id in self._suspects]
        self._suspects = frozenset(orphans)
        return await self._delete_all(doomed, why="nobody owns it")

    def _orphans(self, loose: Iterable[ENI]) -> Iterable[ENI]:
        owned, instances = self._owned(), self._instances()
        for eni in loose:
            tags = dict(eni.tags)
            is_of_cluster = bool(self._cluster_id) and tags.get(CLUSTER_TAG) == self._cluster_id
            is_of_pool = CREATOR_TAG in eni.tags and is_of_cluster
            is_of_pod = POD_CREATOR in eni.tags and is_of_cluster
            if not (is_of_pool or is_of_pod) or eni.id in owned or self._is_young(eni):
                continue
            # Its pool, which lives, knows better: it may be about to attach it.
            if not (is_of_pool and tags.get(INSTANCE_TAG) in instances):
                yield eni

    def _is_young(self, eni: ENI) -> bool:
        if not eni.creation_time:
            return False
        return self._wall() - parse_time(eni.creation_time) < YOUNG_S

    async def _delete_all(self, enis: Iterable[ENI], *, why: str) -> int:
        async with asyncio.TaskGroup() as tasks:
            deleting = [tasks.create_task(self._delete(eni, why)) for eni in enis]
        return sum(one.result() for one in deleting)

    async def _delete(self, eni: ENI, why: str) -> bool:
        await self._budget.take(DELETE, who="gone")
        try:
            await self._cloud.delete_eni(eni.id)
        except VpcError as error:
            if isinstance(error, ThrottledError):
                self._budget.throttled(DELETE, error.retry_after_s)
            _log.warning("gone.not_deleted", eni_id=eni.id, error=str(error))
            return False
        _log.info("gone.deleted", eni_id=eni.id, why=why)
        return True
