"""A kubelet that runs nothing: it reports what a kubelet would, for tests of the API server."""

from __future__ import annotations

import asyncio

from terway.kube.clock import format_micro_time
from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.gates import readiness_gates
from terway.lab.kubeapi.objects import (
    Object,
    is_pod_ready,
    is_terminating,
    name_of,
    namespace_of,
    read_path,
    uid_of,
    with_condition,
)
from terway.lab.kubeapi.resources import LEASE, NODE, POD
from terway.lab.kubeapi.state import ClusterState


def add_node(
    state: ClusterState, name: str, *, pods: int = 110, zone: str = "", **labels: str
) -> Object:
    """Register a ready node."""
    now = state.now_text()
    node = {
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **_zone(zone), **labels},
        },
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": str(pods)},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now}],
        },
    }
    beat(state, name)
    return state.create(NODE, node).object


def _zone(zone: str) -> dict[str, str]:
    return {"topology.kubernetes.io/zone": zone} if zone else {}


def beat(state: ClusterState, name: str) -> None:
    """Renew the node's lease."""
    lease = {"metadata": {"name": name, "namespace": "kube-node-lease"}}
    spec = {"holderIdentity": name, "renewTime": format_micro_time(state.clock())}
    if state.find(LEASE, name, "kube-node-lease") is None:
        state.create(LEASE, {**lease, "spec": spec})
    else:
        state.patch(LEASE, name, "kube-node-lease", {"spec": spec})


def is_runnable(pod: Object) -> bool:
    """Say whether a pod's image is one that "starts": all but those named broken."""
    return all("broken" not in one["image"] for one in pod["spec"]["containers"])


def report(state: ClusterState) -> bool:
    """Start, and stop, the pods on all nodes; say whether anything changed."""
    before = state.store.revision
    for pod in state.list(POD):
        if not read_path(pod, "spec.nodeName"):
            continue
        if is_terminating(pod):
            confirm_end(state, pod)
        elif is_runnable(pod) and is_pod_ready(pod) is not _are_gates_open(pod):
            make_ready(state, pod)
    return state.store.revision != before


def confirm_end(state: ClusterState, pod: Object) -> None:
    """Report that nothing of a pod is left."""
    state.delete(POD, name_of(pod), namespace_of(pod), DeleteOptions(grace_s=0, uid=uid_of(pod)))


def _are_gates_open(pod: Object) -> bool:
    return all(readiness_gates(pod).values())


def make_ready(state: ClusterState, pod: Object) -> None:
    """Report a pod as running, and ready as far as its gates allow."""
    ready = {"type": "Ready", "status": str(_are_gates_open(pod))}
    conditions = read_path(pod, "status.conditions", [])
    status = {
        "phase": "Running",
        "podIP": "192.168.32.9",
        "conditions": with_condition(conditions, ready, now=state.now_text()),
    }
    patch = {"status": status}
    state.patch(POD, name_of(pod), namespace_of(pod), patch, subresource="status")


def run_until_quiet(state: ClusterState) -> None:
    """Let controllers and kubelets work until nobody has anything to do."""
    settle(state)
    while report(state):
        settle(state)


async def run_kubelets(state: ClusterState) -> None:
    """Keep reporting until cancelled."""
    wake = asyncio.Event()
    stop = state.store.on_change(lambda change: wake.set())
    try:
        while True:
            wake.clear()
            report(state)
            await wake.wait()
    finally:
        stop()
