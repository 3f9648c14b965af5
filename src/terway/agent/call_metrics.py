"""How long does the cloud take to answer, and how often does it refuse?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from terway.cloud.query import Value
from terway.model.errors import VpcError
from terway.model.exposition import Counter, Histogram, Metric

# The OpenAPI answers in some hundred milliseconds; twenty seconds is where we give up.
_OPENAPI_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_METADATA_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_GIVEN_BACK = {
    "UnassignPrivateIpAddresses": ("PrivateIpAddress", "ipv4"),
    "UnassignIpv6Addresses": ("Ipv6Address", "ipv6"),
}


class CallMetrics:
    """Counts the calls of one terwayd to the OpenAPI and to the metadata service."""

    def __init__(self) -> None:
        self._openapi = Histogram(
            name="aliyun_openapi_latency",
            text="seconds that a call to the OpenAPI took",
            buckets=_OPENAPI_BUCKETS_S,
        )
        self._metadata = Histogram(
            name="aliyun_metadata_latency",
            text="seconds that a read of the metadata service took",
            buckets=_METADATA_BUCKETS_S,
        )
        self._disposed = Counter(
            name="terway_resource_pool_disposed_count", text="addresses given back to the cloud"
        )
        for _, stack in _GIVEN_BACK.values():
            self._disposed.add((("type", "LocalIP"), ("ipStack", stack)), 0.0)

    def openapi(
        self, action: str, parameters: Mapping[str, Value], elapsed_s: float, error: VpcError | None
    ) -> None:
        """Count one call; `error` is None when it was answered."""
        labels = (("api", action), ("error", str(error is not None).lower()))
        self._openapi.observe(labels, elapsed_s)
        if error is None and action in _GIVEN_BACK:
            name, stack = _GIVEN_BACK[action]
            listed = parameters.get(name)
            count = len(listed) if isinstance(listed, list | tuple) else 1
            self._disposed.add((("type", "LocalIP"), ("ipStack", stack)), count)

    def metadata(self, path: str, elapsed_s: float, failed: bool) -> None:
        """Count one read; MACs are taken out of the path, which would be endless names."""
        labels = (("url", _MAC.sub("<mac>", path)), ("error", str(failed).lower()))
        self._metadata.observe(labels, elapsed_s)

    def metrics(self) -> Iterator[Metric]:
        """Yield what was counted."""
        yield from (self._openapi, self._metadata, self._disposed)
