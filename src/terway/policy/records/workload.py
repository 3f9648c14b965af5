"""Whose pod is it: which Deployment, StatefulSet, DaemonSet or Job made it?

By the labels that the controllers put on what they make: a node holds all pods of the cluster, and
does not keep their owners. Source: Kubernetes documentation, "Well-Known Labels, Annotations and
Taints"; pkg/controller of deployment, statefulset, daemon, job.
"""

from __future__ import annotations

from terway.model.selector import Labels
from terway.policy.cluster import PodKey

_TEMPLATE = "pod-template-hash"
_REVISION = "controller-revision-hash"
_INDEX_LABELS = ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index")
_JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")


def workload_of(key: PodKey, labels: Labels) -> str:
    """Return "Kind name" of who made a pod; "Pod name" where nobody known did."""
    template = labels.get(_TEMPLATE)
    if template:
        name, found, _ = key.name.rpartition(f"-{template}-")
        return f"Deployment {name}" if found else f"Pod {key.name}"
    job = next((labels[one] for one in _JOB_LABELS if one in labels), "")
    if job:
        return f"Job {job}"
    name, _, last = key.name.rpartition("-")
    if name and last.isdigit() and any(one in labels for one in _INDEX_LABELS):
        return f"StatefulSet {name}"
    return f"DaemonSet {name}" if name and _REVISION in labels else f"Pod {key.name}"
