"""How is what we believe of a node's pool written to its resource? Once a round, if it differs.

Whoever finds there what another control plane wrote forgets what he believed: ConflictError.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from terway.controlplane.pools.believed import NodePool
from terway.controlplane.pools.status import status_of
from terway.controlplane.ports import KubePort
from terway.ipam.outlook import look_ahead
from terway.ipam.pool import Pool
from terway.ipam.values import ENIPhase
from terway.kube.clock import format_time
from terway.kube.crds import POOL_NODES, NodeStatus, PoolNode
from terway.kube.types import ObjectMeta
from terway.model.errors import ConflictError


class Showing:
    """Writes nodes' status. `clock` is monotonic seconds, `wall_clock` those since the epoch."""

    def __init__(
        self, kube: KubePort, *, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._wall_clock = wall_clock

    async def show(self, one: NodePool, name: str) -> None:
        """Write the status if it differs. ConflictError: somebody else wrote it meanwhile."""
        held = one.runtime.held if one.runtime is not None else {}
        reason = _why_no_more(one.pool, self._clock())
        status = status_of(one.pool, held, one.shown, reason=reason)
        if status == one.shown:
            return
        now = format_time(self._wall_clock())
        # A reading that changes nothing is worth no write: it is shown with the next change.
        synced = one.synced or status.last_sync_open_api_time
        status = msgspec.structs.replace(
            status, last_modified_time=now, last_sync_open_api_time=synced
        )
        await self._write(one, name, status)

    async def _write(self, one: NodePool, name: str, status: NodeStatus) -> None:
        try:
            written = await self._put(one, name, status)
        except ConflictError as error:
            # The agent may have written its half of the resource: that changes nothing here.
            found = await self._kube.get(POOL_NODES, name)
            if found is None or found.metadata.uid != one.uid or found.status != one.shown:
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
