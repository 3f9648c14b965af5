"""What terwayd tells Kubernetes about its node: how many pods fit, and whether one more does now.

Source of the names: upstream Terway (annotation ``k8s.aliyun.com/max-available-ip``, condition
``SufficientIP``, re-asserted about every five minutes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from terway.agent.pool_ports import PoolStatus
from terway.kube.client import KubeClient, PatchType
from terway.kube.clock import format_time, parse_time
from terway.kube.resource import NODES
from terway.model.errors import VpcError
from terway.model.ids import NodeName

CONDITION = "SufficientIP"
MAX_AVAILABLE_IP = "k8s.aliyun.com/max-available-ip"
# Ours: that a node has the eBPF data path, which does not take all that a pod may be given.
DATAPATH, EBPF = "k8s.aliyun.com/datapath", "ebpf"
LOOK_EVERY_S = 10.0
ASSERT_EVERY_S = 300.0

_log = structlog.get_logger("node")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSays:
    """What is to be known of the node."""

    capacity: int
    is_sufficient: bool
    message: str


def say(status: PoolStatus) -> NodeSays:
    """Return what the pool's status means to users of the node."""
    message = "the pool has addresses, or can get some" if status.can_add else status.reason
    return NodeSays(capacity=status.capacity, is_sufficient=status.can_add, message=message)


def condition_of(says: NodeSays, *, now: float, changed_at: float) -> dict[str, str]:
    """Return the node condition; times are seconds since the epoch."""
    return {
        "type": CONDITION,
        "status": "True" if says.is_sufficient else "False",
        "reason": "SufficientIP" if says.is_sufficient else "InsufficientIP",
        "message": says.message,
        "lastHeartbeatTime": format_time(now),
        "lastTransitionTime": format_time(changed_at),
    }


class NodeReporter:
    """Writes changes at once, and all now and then. `clock` gives seconds since the epoch.

    `notes` are annotations of the Node that stay as they are while we run; None removes one.
    """

    def __init__(
        self,
        client: KubeClient,
        name: NodeName,
        *,
        status: Callable[[], PoolStatus],
        clock: Callable[[], float],
        notes: Mapping[str, str | None] | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._status = status
        self._clock = clock
        self._notes = notes or {}
        self._said: NodeSays | None = None
        self._said_at = 0.0
        self._changed_at = 0.0

    async def run(self) -> None:
        """Look every `LOOK_EVERY_S` seconds, until cancelled."""
        while True:
            try:
                await self.report()
            except VpcError as error:
                _log.warning("node.not_reported", node=self._name, error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def report(self) -> None:
        """Write the annotation and the condition if they changed or are old."""
        says, now = say(self._status()), self._clock()
        before = self._said
        # A clock that was set back must not keep the condition from being written for so long.
        if says == before and abs(now - self._said_at) < ASSERT_EVERY_S:
            return
        if before is None:
            self._changed_at = await self._is_so_since(says, now)
        elif before.is_sufficient is not says.is_sufficient:
            self._changed_at = now
        if before is None or before.capacity != says.capacity:
            annotations = {MAX_AVAILABLE_IP: str(says.capacity), **self._notes}
            patch = {"metadata": {"annotations": annotations}}
            await self._client.patch(NODES, self._name, patch)
        condition = condition_of(says, now=now, changed_at=self._changed_at)
        await self._client.patch(
            NODES,
            self._name,
            {"status": {"conditions": [condition]}},
            kind=PatchType.STRATEGIC,
            subresource="status",
        )
        self._said, self._said_at = says, now

    async def _is_so_since(self, says: NodeSays, now: float) -> float:
        """Return since when it is so: a start of terwayd alone changes nothing."""
        node = await self._client.get(NODES, self._name)
        for one in node.status.conditions if node is not None else ():
            is_same = (one.type, one.status) == (CONDITION, str(says.is_sufficient))
            if is_same and one.last_transition_time is not None:
                return parse_time(one.last_transition_time)
        return now
