"""How does a workload look as an autoscaling/v1 Scale, and what does one change?"""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.customresources.kind import ScalePaths
from terway.lab.kubeapi.errors import bad_request
from terway.lab.kubeapi.objects import Object, metadata, read_path, replace_in
from terway.lab.kubeapi.resources import ResourceDef

_BUILT_IN = ScalePaths(replicas="spec.replicas", status_replicas="status.replicas")
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _paths(resource: ResourceDef) -> ScalePaths:
    return (resource.custom and resource.custom.scale) or _BUILT_IN


def _selector(workload: Object, paths: ScalePaths) -> str:
    if paths.selector:
        return str(read_path(workload, paths.selector, ""))
    labels = read_path(workload, "spec.selector.matchLabels", {})
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def scale_of(resource: ResourceDef, workload: Object) -> Object:
    """Return the Scale of a workload, or of a custom object that has one."""
    paths = _paths(resource)
    held = metadata(workload)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: held[name] for name in _SHOWN if name in held},
        "spec": {"replicas": read_path(workload, paths.replicas, 0)},
        "status": {
            "replicas": read_path(workload, paths.status_replicas, 0),
            "selector": _selector(workload, paths),
        },
    }


def with_scale(resource: ResourceDef, workload: Object, scale: Any) -> Object:
    """Return the workload with the replicas that a Scale wants. ApiError 400 for nonsense."""
    replicas = read_path(scale, "spec.replicas", 0)
    if not isinstance(replicas, int):
        raise bad_request("spec.replicas of a Scale is a number")
    changed = replace_in(workload, _paths(resource).replicas, replicas)
    version = read_path(scale, "metadata.resourceVersion")
    return replace_in(changed, "metadata.resourceVersion", version) if version else changed
