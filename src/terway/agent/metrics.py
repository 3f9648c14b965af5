"""What terwayd counts and times. The names are the original's; dashboards know them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from terway.agent.pool_ports import PoolStatus
from terway.agent.readonly import Page
from terway.agent.verb_ports import Pool
from terway.cni.version import Verb
from terway.model.exposition import CONTENT_TYPE, Counter, Gauge, Histogram, Metric

# An ADD takes some ms when an address is free, and seconds when the cloud must give one.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0)
_STAGE_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0)
_VERBS = frozenset(verb.value for verb in Verb)
_LOCAL = (("type", "LocalIP"),)


class Metrics:
    """What is counted where it happens, and the pool as it is when somebody looks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.sources: list[Callable[[], Iterable[Metric]]] = []  # what others have in numbers
        self._requests = Histogram(
            name="terway_rpc_latency", text="seconds that a CNI request took", buckets=_BUCKETS_S
        )
        self._stages = Histogram(
            name="terway_cni_stage_seconds",
            text="seconds that a stage of a CNI request took",
            buckets=_STAGE_BUCKETS_S,
        )
        self._looks = Histogram(
            name="terway_reconcile_seconds",
            text="seconds that a look at journal, kernel and API took",
            buckets=_BUCKETS_S,
        )
        self._refusals = Counter(
            name="terway_cni_errors_total", text="CNI requests that failed, by verb and CNI code"
        )

    def observe_request(self, verb: str, *, failed: bool, elapsed_s: float) -> None:
        """Count one CNI request. What is no verb is counted as one: it has endless names."""
        named = verb if verb in _VERBS else "unknown"
        self._requests.observe((("rpc_api", named), ("error", str(failed).lower())), elapsed_s)

    def observe_stages(self, verb: str, stages: Mapping[str, float]) -> None:
        """Count how long each stage of a request took."""
        named = verb if verb in _VERBS else "unknown"
        for stage, elapsed_s in stages.items():
            self._stages.observe((("verb", named), ("stage", stage)), elapsed_s)

    def observe_refusal(self, verb: str, code: int) -> None:
        """Count one request that failed, with its CNI error code."""
        named = verb if verb in _VERBS else "unknown"
        self._refusals.add((("verb", named), ("code", str(code))))

    def observe_look(self, elapsed_s: float) -> None:
        """Count one look of the reconciler."""
        self._looks.observe((), elapsed_s)

    def page(self) -> Page:
        """Return the exposition."""
        others = (one for source in self.sources for one in source())
        own = (self._requests, self._stages, self._looks, self._refusals)
        metrics: list[Metric] = [*own, *gauges_of(self._pool.status()), *others]
        lines = (line for metric in metrics for line in metric.lines())
        return Page(body=("\n".join(lines) + "\n").encode(), content_type=CONTENT_TYPE)


def gauges_of(status: PoolStatus) -> Iterator[Gauge]:
    """Yield what the pool's status looks like in numbers."""
    total = status.free + status.bound + status.cooling + status.retiring
    yield _gauge("terway_resource_pool_total_count", "addresses that this node holds", total)
    yield _gauge(
        "terway_resource_pool_idle_count",
        "addresses that no pod has, cooling ones included",
        total - status.bound,
    )
    yield _gauge("terway_resource_pool_allocated_count", "addresses of pods", status.bound)
    yield from _pool_of(status)
    yield Gauge(
        name="terway_eniip_factory_eni_count",
        text="ENIs by phase",
        values={(("phase", phase.value),): count for phase, count in status.enis.items()},
    )
    yield Gauge(
        name="terway_eniip_factory_ip_count", text="addresses of all ENIs", values={(): total}
    )
    yield Gauge(
        name="terway_eniip_factory_ip_alloc_count",
        text="addresses asked of the cloud, not answered yet",
        values={(): status.coming},
    )


def _pool_of(status: PoolStatus) -> Iterator[Gauge]:
    plain = {
        "terway_pool_capacity_pods": ("pods that fit at most", status.capacity),
        "terway_pool_can_add": ("1 while an ADD would be served, or could wait", status.can_add),
        "terway_pool_cooling_count": ("addresses that rest before the next pod", status.cooling),
        "terway_pool_waiting_count": ("ADDs that wait for an address", status.waiting),
        "terway_pool_missing_count": (
            "addresses of pods that the cloud does not show",
            len(status.missing),
        ),
    }
    for name, (text, value) in plain.items():
        yield Gauge(name=name, text=text, values={(): float(value)})


def _gauge(name: str, text: str, value: float) -> Gauge:
    return Gauge(name=name, text=text, values={_LOCAL: value})
