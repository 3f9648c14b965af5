"""What is counted of controllers and their queues? The names are controller-runtime's, which
upstream's dashboards know.

Source: sigs.k8s.io/controller-runtime, pkg/metrics and pkg/internal/controller/metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from terway.controlplane.budget import Usage
from terway.model.exposition import Counter, Gauge, Histogram, Labels, Metric

# The OpenAPI answers in some hundred milliseconds; twenty seconds is where we give up.
_CALL_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class ControllerMetrics:
    """Rounds of all controllers: how many, how they ended, how long they took and waited."""

    def __init__(self) -> None:
        self._rounds = Counter(
            name="controller_runtime_reconcile_total", text="rounds by how they ended"
        )
        self._errors = Counter(
            name="controller_runtime_reconcile_errors_total", text="rounds that failed, by error"
        )
        self._took = Histogram(
            name="controller_runtime_reconcile_time_seconds",
            text="seconds that a round took",
            buckets=_BUCKETS_S,
        )
        self._waited = Histogram(
            name="workqueue_queue_duration_seconds",
            text="seconds that a key was ready before its turn",
            buckets=_BUCKETS_S,
        )

    def observe_turn(self, controller: str, waited_s: float) -> None:
        """Count how long a key was ready before its turn came."""
        self._waited.observe((("name", controller),), waited_s)

    def observe_round(self, controller: str, *, result: str, took_s: float) -> None:
        """Count a round that is over; `result` is success, requeue_after or error."""
        self._rounds.add((("controller", controller), ("result", result)))
        self._took.observe((("controller", controller),), took_s)

    def observe_error(self, controller: str, error: str) -> None:
        """Count a round that failed, with the class of its error."""
        self._errors.add((("controller", controller), ("error", error)))

    def metrics(self) -> Iterator[Metric]:
        """Yield them for the exposition."""
        yield from (self._rounds, self._errors, self._took, self._waited)


class Metrics:
    """Everything that this process has in numbers: whoever counts adds a source."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], Iterable[Metric]]] = []

    def page(self) -> bytes:
        """Return the exposition."""
        metrics = (metric for source in self.sources for metric in source())
        lines = (line for metric in metrics for line in metric.lines())
        return ("\n".join(lines) + "\n").encode()


def gauge(name: str, text: str, values: dict[Labels, float]) -> Gauge:
    """Return a metric of which only the present values are known."""
    return Gauge(name=name, text=text, values=values)


class CallMetrics:
    """Calls of the cloud's API; upstream's name, which dashboards know."""

    def __init__(self) -> None:
        self._calls = Histogram(
            name="aliyun_openapi_latency",
            text="seconds that a call to the OpenAPI took",
            buckets=_CALL_BUCKETS_S,
        )
        self._turns = Histogram(
            name="rate_limiter_latency",
            text="seconds that a call to the OpenAPI waited for its turn",
            buckets=_BUCKETS_S,
        )

    def observe_turn(self, action: str, waited_s: float) -> None:
        """Count how long a call waited before it was made."""
        self._turns.observe((("api", action),), waited_s)

    def observe(
        self, action: str, parameters: object, elapsed_s: float, error: Exception | None
    ) -> None:
        """Count one call; `error` is None when it was answered."""
        labels = (("api", action), ("error", str(error is not None).lower()))
        self._calls.observe(labels, elapsed_s)

    def metrics(self) -> Iterator[Metric]:
        """Yield what was counted."""
        yield from (self._calls, self._turns)


def informer_gauges(sizes: dict[str, int]) -> Iterator[Gauge]:
    """Yield how many objects are in memory."""
    values: dict[Labels, float] = {(("collection", name),): size for name, size in sizes.items()}
    yield gauge("terway_controlplane_objects", "objects in memory", values)


def budget_gauges(usage: Iterable[Usage]) -> Iterator[Gauge]:
    """Yield how the budget of cloud calls is used."""
    found = tuple(usage)
    for name, (text, read) in _BUDGET.items():
        values: dict[Labels, float] = {(("api", one.action),): read(one) for one in found}
        yield gauge(f"terway_controlplane_budget_{name}", text, values)


_BUDGET: dict[str, tuple[str, Callable[[Usage], float]]] = {
    "waiting": ("calls that wait for their turn", lambda one: one.waiting),
    "taken": ("calls since the beginning", lambda one: one.taken),
    "throttled": ("throttling answers since the beginning", lambda one: one.throttled),
    "rate_per_min": ("calls a minute that may be made now", lambda one: one.rate_per_min),
}
