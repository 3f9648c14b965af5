"""How is what we believe of a node's pool written to its resource? Once a round, if it differs.

Whoever finds there what another control plane wrote forgets what he believed: ConflictError.
"""

from __future__ import annotations

import msgspec

from terway.controlplane.pools.believed import NodePool
from terway.controlplane.pools.conditions import conditions_of
from terway.controlplane.pools.moments import Moments
from terway.controlplane.pools.status import Beside, status_of
from terway.controlplane.ports import KubePort
from terway.ipam import chance
from terway.ipam.outlook import look_ahead
from terway.ipam.pool import NEVER, Pool
from terway.ipam.values import ENIPhase, PoolENI
from terway.kube.crds import (
    POOL_NODES,
    ENICondition,
    NodeNetworkInterface,
    NodeStatus,
    PoolNode,
)
from terway.kube.types import ObjectMeta
from terway.model.errors import ConflictError

_NOTHING, _NO_CONDITION = NodeNetworkInterface(), ENICondition()
_LOOK_AGAIN_S = 60.0  # where the reading that was due has not come


class Showing:
    """Writes nodes' status."""

    def __init__(self, kube: KubePort, moments: Moments) -> None:
        self._kube = kube
        self._moments = moments

    async def show(self, one: NodePool, name: str) -> None:
        """Write the status if it differs. ConflictError: somebody else wrote it meanwhile."""
        status = status_of(one.pool, self._beside(one), one.shown)
        if status == one.shown and not self._is_stale(one):
            return
        synced = self._moments.text(one.synced_at, one.shown.last_sync_open_api_time)
        status = msgspec.structs.replace(
            status,
            last_modified_time=self._moments.text(self._moments.now()),
            last_sync_open_api_time=synced or one.shown.last_sync_open_api_time,
            next_sync_open_api_time=self._next_reading(one),
        )
        await self._write(one, name, status)

    async def clear(self, node: PoolNode) -> None:
        """Have a resource say nothing of a pool: its node sees to that by itself.

        In a round of its own, so that nobody takes what it said before for true. Idempotent.
        ConflictError: somebody else wrote it meanwhile.
        """
        if not node.status.network_interfaces and not node.status.journal:
            return
        now = self._moments.text(self._moments.now())
        head = node.metadata
        meta = ObjectMeta(name=head.name, uid=head.uid, resource_version=head.resource_version)
        status = NodeStatus(round=node.status.round + 1, last_modified_time=now)
        body = PoolNode(metadata=meta, status=status)
        await self._kube.update(POOL_NODES, body, subresource="status")

    def due_at(self, one: NodePool, now: float) -> float:
        """Return when the resource of a quiet node is to be looked at again, later than `now`."""
        if self._moments.reads_at is None and one.shown.next_sync_open_api_time is None:
            return NEVER
        turn = self._turn_of(one)
        return turn if turn > now else now + _LOOK_AGAIN_S

    def _beside(self, one: NodePool) -> Beside:
        now = self._moments.now()
        return Beside(
            held=one.runtime.held if one.runtime is not None else {},
            reason=_why_no_more(one.pool, now),
            conditions={
                eni.id: found
                for eni in one.pool.enis.values()
                if (found := self._conditions(one, eni))
            },
            reclaim_at=self._moments.text(one.pool.reclaim_at, one.shown.next_idle_ip_reclaim_time),
        )

    def _conditions(self, one: NodePool, eni: PoolENI) -> dict[str, ENICondition]:
        found = conditions_of(one.pool, eni, one.troubles, now=self._moments.now())
        shown = one.shown.network_interfaces.get(eni.id, _NOTHING).conditions
        return {
            name: ENICondition(
                observed_time=self._moments.text(
                    its.since, shown.get(name, _NO_CONDITION).observed_time
                ),
                message=its.message,
            )
            for name, its in found.items()
        }

    def _next_reading(self, one: NodePool) -> str | None:
        """Return when the cloud is next compared with the node: with all nodes, or before."""
        times = (self._moments.reads_at, one.pool.watch.due_at)
        coming = [at for at in times if at is not None and self._moments.now() < at < NEVER]
        return self._moments.text(min(coming, default=None), one.shown.next_sync_open_api_time)

    def _is_stale(self, one: NodePool) -> bool:
        """Return whether a node where nothing changes is to show anew when it was looked at.

        Once for each reading of all nodes, and not all nodes at once: it helps nobody in a hurry.
        """
        if self._next_reading(one) == one.shown.next_sync_open_api_time:
            return False
        return self._moments.now() >= self._turn_of(one)

    def _turn_of(self, one: NodePool) -> float:
        shown, moments = one.shown.next_sync_open_api_time, self._moments
        said = moments.began_at if shown is None else moments.moment(shown)
        since = max(said, moments.began_at)  # nor are all a restarted process's first work
        return since + moments.spread_s * chance.fraction(one.uid, 0)

    async def _write(self, one: NodePool, name: str, status: NodeStatus) -> None:
        try:
            written = await self._put(one, name, status)
        except ConflictError as error:
            # The agent may have written its half of the resource: that changes nothing here.
            found = await self._kube.get(POOL_NODES, name)
            if found is None or found.metadata.uid != one.uid or found.status != one.shown:
                raise ConflictError(f"nodes/{name}: {error}") from error
            if found.spec.eni is None:  # its node sees to itself now
                raise ConflictError(f"nodes/{name}: {error}") from error
            one.version = found.metadata.resource_version
            written = await self._put(one, name, status)
        one.version = written.metadata.resource_version
        one.shown = status

    async def _put(self, one: NodePool, name: str, status: NodeStatus) -> PoolNode:
        meta = ObjectMeta(name=name, uid=one.uid, resource_version=one.version)
        body = PoolNode(metadata=meta, status=status)
        return await self._kube.update(POOL_NODES, body, subresource="status")


def _why_no_more(pool: Pool, now: float) -> str:
    """Return why some who are on their way can have no address now; empty where all can.

    As long as something is on its way, nobody is sent away: it comes first.
    """
    if pool.intents or any(eni.phase is ENIPhase.ATTACHING for eni in pool.enis.values()):
        return ""
    for wish, count in pool.expected.items():
        outlook = look_ahead(pool, now, wish)
        if outlook.pairs < count:
            return outlook.reason
    return ""
