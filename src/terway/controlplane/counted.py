"""What do upstream's dashboards ask of nodes' pools, and of ENIs that are being attached?

Names and labels are upstream's. `method` is always `reconcile`: a round here is one step.

Source: upstream Terway, pkg/controller/multi-ip/node/metric.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from terway.controlplane.metrics import gauge
from terway.ipam.commands import AttachENI, WaitLink
from terway.ipam.events import (
    AttachRequested,
    Deleted,
    Event,
    Failed,
    LinkReady,
    Observed,
    PrefixesUnassigned,
    Unassigned,
)
from terway.ipam.pool import Pool
from terway.ipam.values import CreateIntent, ENIPhase, PoolENI
from terway.kube.crds import NetworkInterface
from terway.model.exposition import Counter, Gauge, Histogram, Labels, Metric
from terway.model.ids import ENIId

_ROUND_BUCKETS_MS = (10, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000)
_ATTACH_BUCKETS_S = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0)
_BINDING = "Binding"
SUCCESS, FAILURE = "success", "failure"


class Counted:
    """What happens to nodes' pools and ENIs. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._given_back = Counter(
            name="gc_count_total", text="calls that gave ENIs or addresses of a node back"
        )
        self._synced = Counter(
            name="sync_openapi_count_total", text="readings of the cloud that a node's pool heard"
        )
        self._rounds = Histogram(
            name="controlplane_node_reconcile_latency_ms",
            text="milliseconds that a round for a node took",
            buckets=_ROUND_BUCKETS_MS,
        )
        self._attached = Histogram(
            name="terway_eni_attach_duration_seconds",
            text="seconds from asking for an ENI's attachment until it was in use, or was refused",
            buckets=_ATTACH_BUCKETS_S,
        )
        self._attaching: dict[ENIId, float] = {}

    def round_over(self, node: str, took_s: float) -> None:
        """Count a round for a node's pool."""
        self._rounds.observe((("method", "reconcile"), ("node", node)), took_s * 1000)

    def heard(self, node: str, event: Event, enis: Mapping[ENIId, PoolENI], *, now: float) -> None:
        """Count what a node's pool hears of; `enis` are those it knows."""
        match event:
            case Observed():
                self._synced.add((("node", node),))
            case Unassigned() | PrefixesUnassigned() | Deleted():
                self._given_back.add((("node", node),))
            case AttachRequested(eni_id=eni_id):
                self._attaching[eni_id] = now
            case LinkReady(eni_id=eni_id):
                self._pool_attached(eni_id, enis, SUCCESS, now)
            case Failed(command=AttachENI(eni_id=eni_id) | WaitLink(eni_id=eni_id)):
                self._pool_attached(eni_id, enis, FAILURE, now)
            case _:
                pass

    def attached(self, kind: str, took_s: float, *, result: str = SUCCESS) -> None:
        """Count an attachment that is over; `kind` is the ENI's type, as the cloud spells it."""
        self._attached.observe((("result", result), ("eni_type", kind)), took_s)

    def forget(self, node: str) -> None:
        """Let go of the figures of a node that is gone."""
        self._given_back.values.pop((("node", node),), None)
        self._synced.values.pop((("node", node),), None)
        self._rounds.forget((("method", "reconcile"), ("node", node)))

    def _pool_attached(
        self, eni_id: ENIId, enis: Mapping[ENIId, PoolENI], result: str, now: float
    ) -> None:
        began, eni = self._attaching.pop(eni_id, now), enis.get(eni_id)
        if eni is not None:
            self.attached(eni.type.value, now - began, result=result)

    def metrics(self) -> Iterator[Metric]:
        """Yield them for the exposition."""
        yield from (self._given_back, self._synced, self._rounds, self._attached)


def eni_tasks(pools: Iterable[Pool], interfaces: Iterable[NetworkInterface]) -> Iterator[Gauge]:
    """Yield how many ENIs are on their way: Pending are to be made, Running to be attached."""
    pending = running = 0
    for pool in pools:
        pending += sum(isinstance(one, CreateIntent) for one in pool.intents.values())
        running += sum(one.phase is ENIPhase.ATTACHING for one in pool.enis.values())
    running += sum(one.status.phase == _BINDING for one in interfaces)
    values: dict[Labels, float] = {
        (("status", "Pending"),): pending,
        (("status", "Running"),): running,
    }
    yield gauge("terway_eni_task_queue_size", "ENIs that are being made or attached", values)
