"""Which Node object describes a lab node? Pure: facts in, the API's objects out.

Source: kubelet node status setters; cloud-provider-alibaba-cloud for providerID and labels.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from terway import __version__
from terway.kube.clock import format_time
from terway.lab.node.spec import NodeSpec

Json = dict[str, Any]
KUBELET_VERSION = "v1.32.0"
RUNTIME_VERSION = f"terway-lab://{__version__}"


def node_object(spec: NodeSpec) -> Json:
    """Return the Node as the kubelet registers it, without a status."""
    return {
        "metadata": {
            "name": spec.name,
            "labels": {
                "beta.kubernetes.io/arch": _ARCH,
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": _ARCH,
                "kubernetes.io/hostname": spec.name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": spec.instance_type,
                "topology.kubernetes.io/region": spec.region_id,
                "topology.kubernetes.io/zone": spec.zone_id,
                **spec.labels,
            },
        },
        "spec": {"providerID": spec.provider_id},
    }


def node_status(spec: NodeSpec, *, trouble: str, since: float, now: float) -> Json:
    """Return the status. `trouble` says why the network is not ready, empty when it is.

    `since` is when readiness last changed; both times are seconds since the epoch.
    """
    resources = {
        "cpu": str(spec.cpu),
        "memory": f"{int(spec.memory_gib * 1024 * 1024)}Ki",
        "pods": str(spec.max_pods),
    }
    own = [address.partition("/")[0] for address in spec.addresses]
    return {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in own),
            {"type": "Hostname", "address": spec.name},
        ],
        "conditions": _conditions(trouble, since, now),
        "nodeInfo": _info(spec),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }


def status_patch(status: Json) -> Json:
    """Return the strategic merge patch that makes `status` the node's own.

    Conditions of others (a CNI agent's, say) stay: lists merge by type. Addresses would, too, and
    two of one type would become one; as the kubelet does, they are replaced as a whole.
    Source: k8s.io/component-helpers, fixupPatchForNodeStatusAddresses.
    """
    return {"status": {**status, "addresses": [*status["addresses"], {"$patch": "replace"}]}}


def _conditions(trouble: str, since: float, now: float) -> Sequence[Json]:
    message = (
        "container runtime network not ready: NetworkReady=false "
        f"reason:NetworkPluginNotReady message:Network plugin returns error: {trouble}"
    )
    ready = ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    unready = ("Ready", "False", "KubeletNotReady", message)
    rows = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "the lab measures no memory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "the lab measures no disk"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "the lab measures no processes"),
        unready if trouble else ready,
    )
    return [
        {
            "type": kind,
            "status": word,
            "reason": reason,
            "message": text,
            "lastHeartbeatTime": format_time(now),
            "lastTransitionTime": format_time(since),
        }
        for kind, word, reason, text in rows
    ]


def _info(spec: NodeSpec) -> Json:
    return {
        "machineID": spec.instance_id,
        "systemUUID": spec.instance_id,
        "bootID": spec.instance_id,
        "kernelVersion": platform.release(),
        "osImage": "terway-lab",
        "operatingSystem": "linux",
        "architecture": _ARCH,
        "containerRuntimeVersion": RUNTIME_VERSION,
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
    }


_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
