"""How does a workload look as an autoscaling/v1 Scale, and what does one change?"""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.errors import bad_request
from terway.lab.kubeapi.objects import Object, metadata, read_path, replace_in

_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(workload: Object) -> Object:
    """Return the Scale of a Deployment or ReplicaSet."""
    labels = read_path(workload, "spec.selector.matchLabels", {})
    held = metadata(workload)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: held[name] for name in _SHOWN if name in held},
        "spec": {"replicas": read_path(workload, "spec.replicas", 0)},
        "status": {
            "replicas": read_path(workload, "status.replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def with_scale(workload: Object, scale: Any) -> Object:
    """Return the workload with the replicas that a Scale wants. ApiError 400 for nonsense."""
    replicas = read_path(scale, "spec.replicas", 0)
    if not isinstance(replicas, int):
        raise bad_request("spec.replicas of a Scale is a number")
    changed = replace_in(workload, "spec.replicas", replicas)
    version = read_path(scale, "metadata.resourceVersion")
    return replace_in(changed, "metadata.resourceVersion", version) if version else changed
