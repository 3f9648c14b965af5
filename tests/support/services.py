"""Services and their pods as manifests, for tests of the API and of its controllers."""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.objects import Object, labels_of
from terway.lab.kubeapi.resources import ENDPOINT_SLICE, POD, SERVICE
from terway.lab.kubeapi.state import ClusterState
from tests.support.cluster import pod_manifest

SELECTS = {"app": "web"}


def service_manifest(name: str = "web", **spec: Any) -> Object:
    """Return a Service that selects `app: web`."""
    held = {"selector": SELECTS, "ports": [{"port": 80}], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": held}


def create_service(state: ClusterState, name: str = "web", **spec: Any) -> Object:
    """Create a Service and return it as it was stored."""
    return state.create(SERVICE, service_manifest(name, **spec)).object


def add_pod(
    state: ClusterState,
    name: str,
    *,
    node: str = "n1",
    ips: tuple[str, ...] = ("192.168.32.9",),
    ready: bool = True,
    ports: tuple[Object, ...] = (),
    **labels: str,
) -> Object:
    """Create a pod of the Service, with the addresses and readiness that a kubelet would report."""
    manifest = pod_manifest(name, **{**SELECTS, **labels})
    manifest["spec"] |= {"nodeName": node}
    manifest["spec"]["containers"][0]["ports"] = list(ports)
    state.create(POD, manifest)
    return report_pod(state, name, ips=ips, ready=ready)


def report_pod(
    state: ClusterState, name: str, *, ips: tuple[str, ...] = (), ready: bool = True, **more: Any
) -> Object:
    """Write a pod's status; without `ips` it keeps its addresses."""
    status: Object = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        **more,
    }
    if ips:
        status |= {"podIP": ips[0], "podIPs": [{"ip": one} for one in ips]}
    return state.patch(POD, name, "default", {"status": status}, subresource="status").object


def slices_of(state: ClusterState, name: str = "web") -> list[Object]:
    """Return the slices of a Service."""
    found = state.list(ENDPOINT_SLICE, "default")
    return [one for one in found if labels_of(one).get("kubernetes.io/service-name") == name]


def endpoints_of(state: ClusterState, name: str = "web") -> dict[str, Object]:
    """Return the endpoints of all slices of a Service by their pod's name."""
    return {
        endpoint["targetRef"]["name"]: endpoint
        for one in slices_of(state, name)
        for endpoint in one["endpoints"]
    }
