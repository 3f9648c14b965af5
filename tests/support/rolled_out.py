"""A Deployment whose pods serve behind a load balancer, and how far its rolling update is."""

from __future__ import annotations

from typing import Any

from terway.kube.resource import NAMESPACES, Resource
from tests.support.balanced_services import RAW_PODS, SERVED, SERVER, Market

GRACE_S = 5
DEPLOYMENTS: Resource[dict[str, Any]] = Resource(
    group="apps",
    version="v1",
    plural="deployments",
    kind="Deployment",
    namespaced=True,
    read_as=dict[str, Any],
)


async def ask_for_gates(market: Market) -> None:
    """Have pods of the namespace get readiness gates."""
    label = {"k8s.alibabacloud.com/pod-readiness-gate-inject": "enabled"}
    await market.lab.kube.patch(NAMESPACES, "default", {"metadata": {"labels": label}})


def deployment(name: str, replicas: int) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "terway-lab/toolbox",
        "command": list(SERVER),
        "readinessProbe": {"tcpSocket": {"port": SERVED}, "periodSeconds": 1},
    }
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": GRACE_S},
            },
        },
    }


async def roll_out(market: Market, name: str) -> None:
    """Begin to replace every pod."""
    template = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await market.lab.kube.patch(DEPLOYMENTS, name, template, namespace="default")


async def is_rolled_out(market: Market, name: str, replicas: int) -> bool:
    found = await market.lab.kube.get(DEPLOYMENTS, name, namespace="default")
    assert found is not None
    status, generation = found.get("status") or {}, found["metadata"]["generation"]
    counts = [status.get(one) for one in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == generation and counts == [replicas] * 3


async def pods_of(market: Market, name: str) -> list[dict[str, Any]]:
    listing = await market.lab.kube.list(RAW_PODS, namespace="default")
    return [one for one in listing.items if one["metadata"].get("labels", {}).get("app") == name]


async def names_of(market: Market, name: str) -> set[str]:
    return {one["metadata"]["name"] for one in await pods_of(market, name)}
