"""What terwayd counts and times. The names are the original's; dashboards know them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from terway.agent.pool_ports import PoolStatus
from terway.agent.readonly import Page
from terway.agent.verbs import Pool

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# An ADD takes some ms when an address is free, and seconds when the cloud must give one.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0)


class PoolCollector:
    """Shows the pool as it is when somebody looks: nothing is counted twice, nothing goes stale."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges (prometheus_client calls this for each scrape)."""
        status = self._pool.status()
        total = status.free + status.bound + status.cooling + status.retiring
        for name, text, value in (
            ("total", "addresses that this node holds", total),
            ("idle", "addresses that no pod has, cooling ones included", total - status.bound),
        ):
            yield _local(f"terway_resource_pool_{name}_count", text, value)
        allocated = GaugeMetricFamily(
            "terway_resource_pool_allocated_count", "addresses of pods", labels=["type"]
        )
        allocated.add_metric(["LocalIP"], status.bound)
        yield allocated
        yield from _factory(status, total)


class Metrics:
    """The registry and the metrics that are counted where things happen."""

    def __init__(self, pool: Pool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(PoolCollector(pool))
        self._requests = Histogram(
            "terway_rpc_latency",
            "seconds that a CNI request took",
            labelnames=("rpc_api", "error"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )

    def observe_request(self, verb: str, *, failed: bool, elapsed_s: float) -> None:
        """Count one CNI request."""
        self._requests.labels(verb, str(failed).lower()).observe(elapsed_s)

    def page(self) -> Page:
        """Return the exposition."""
        return Page(body=generate_latest(self._registry), content_type=_CONTENT_TYPE)


def _local(name: str, text: str, value: float) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=["type"])
    gauge.add_metric(["LocalIP"], value)
    return gauge


def _factory(status: PoolStatus, total: int) -> Iterator[Metric]:
    enis = GaugeMetricFamily("terway_eniip_factory_eni_count", "ENIs by phase", labels=["phase"])
    for phase, count in status.enis.items():
        enis.add_metric([phase.value], count)
    yield enis
    yield GaugeMetricFamily("terway_eniip_factory_ip_count", "addresses of all ENIs", value=total)
    yield GaugeMetricFamily(
        "terway_eniip_factory_ip_alloc_count",
        "addresses asked of the cloud, not answered yet",
        value=status.coming,
    )
