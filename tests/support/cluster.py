"""A cluster in memory for tests: time stands still until it is moved."""

from __future__ import annotations

from random import Random

from terway.lab.kubeapi.manifests import bootstrap
from terway.lab.kubeapi.state import ClusterState

START = 1_760_000_000.0


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


SERVICE_CIDRS = "172.21.0.0/20,fd00:21::/112"


def make_cluster(clock: Clock | None = None, *, history_limit: int = 10_000) -> ClusterState:
    """Return a cluster with its first namespaces, and Service ranges of both families."""
    state = ClusterState(
        clock=clock or Clock(),
        rng=Random(7),
        history_limit=history_limit,
        service_cidr=SERVICE_CIDRS,
    )
    bootstrap(state)
    return state


def pod_manifest(name: str = "a", **labels: str) -> dict:
    """Return the smallest pod there is."""
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }


def deployment_manifest(name: str = "web", *, replicas: int = 3, image: str = "busybox") -> dict:
    """Return a Deployment with the default strategy."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    }
