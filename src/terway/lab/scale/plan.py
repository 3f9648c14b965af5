"""How large is the cluster, what happens to it, and what is the least that it could take?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.lab.cloud.throttle import REAL_LIMITS, least_time_s
from terway.lab.cloud.transitions import Delays

_REAL = Delays(
    attach_s=2.0,
    answer_s={
        "CreateNetworkInterface": 0.5,
        "AttachNetworkInterface": 0.3,
        "AssignPrivateIpAddresses": 0.3,
        "DescribeNetworkInterfaces": 0.1,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePlan:
    """One simulation: `nodes` come at once, each with `pods_per_node` pods.

    `call_limits` are calls a minute, by action. `api_delay_s` passes before the API server
    answers, `watch_lag_s` before watchers see a change. `kube_qps` limits the control plane's
    requests, as `kubeClientQPS` does; 0 is no limit.
    """

    nodes: int = 5000
    pods_per_node: int = 20
    instance_type: str = "ecs.g7.xlarge"  # 3 ENIs for pods, 15 addresses on each
    addresses_per_eni: int = 15
    call_limits: Mapping[str, float] = field(default_factory=lambda: dict(REAL_LIMITS))
    delays: Delays = _REAL
    api_delay_s: float = 0.005
    watch_lag_s: float = 0.05
    kube_qps: float = 200.0
    kube_burst: int = 300
    seed: int = 1
    patience_s: float = 7200.0  # virtual: then who waits still is left waiting

    @property
    def pods(self) -> int:
        """Return how many pods there are."""
        return self.nodes * self.pods_per_node

    @property
    def least_enis(self) -> int:
        """Return how many ENIs the pods cannot do without."""
        return self.nodes * -(-self.pods_per_node // self.addresses_per_eni)

    @property
    def least_calls(self) -> Mapping[str, int]:
        """Return the calls that nobody can do without.

        An ENI is created with all its addresses in one call: up to 49 beside the primary one.
        Source: help page CreateNetworkInterface, SecondaryPrivateIpAddressCount.
        """
        enis = self.least_enis
        return {"CreateNetworkInterface": enis, "AttachNetworkInterface": enis}

    @property
    def least_s(self) -> float:
        """Return how long these calls take whoever makes each as soon as it is allowed.

        The first calls of each action, a minute's worth, take no time.
        """
        return least_time_s(self.least_calls, self.call_limits)
