"""Which pod does a part of the way back on a node, where only a pod can reach files and kernel?

It is made of our DaemonSet's own template: the image, the mounts and the rights are there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terway.cli.migrate_cluster import NAMESPACE, SAVED, Job

_WORDS = {
    Job.CHECK: ("migrate", "--back", "--dry-run"),
    Job.RETURN: ("migrate", "--back", "--yes"),
}
_TOOL = "terway-cli"


def task_words(job: Job) -> tuple[str, ...]:
    """Return what terway-cli is asked for on the node."""
    return _WORDS[job]


def task_pod(agents: Mapping[str, Any], node: str, job: Job) -> dict[str, Any]:
    """Return the pod that does `job` on `node`; `agents` is our DaemonSet.

    It is bound to the node at once, and runs once: who reads its log decides what is next.
    """
    spec = dict(agents["spec"]["template"]["spec"])
    for name in ("affinity", "nodeSelector", "initContainers"):
        spec.pop(name, None)
    container = dict(spec["containers"][0])
    for name in ("readinessProbe", "livenessProbe", "args", "resources"):
        container.pop(name, None)
    name = f"{SAVED}-{job.value}-{node}"
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {SAVED: job.value}},
        "spec": {
            **spec,
            "nodeName": node,
            "restartPolicy": "Never",
            "containers": [{**container, "name": "task", "command": [_TOOL, *task_words(job)]}],
        },
    }
