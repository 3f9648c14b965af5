"""What is kept of the pods of a whole cluster is little, and held once where pods share it."""

from __future__ import annotations

from typing import Any

import msgspec

from terway.controlplane.watched import (
    WATCHED_NODES,
    WATCHED_PODS,
    WatchedPod,
    shrink_node,
    shrink_pod,
)
from terway.kube.types import Node


def pod(number: int, **annotations: str) -> WatchedPod:
    body: dict[str, Any] = {
        "metadata": {
            "name": f"web-{number}",
            "namespace": "shop",
            "uid": f"u-{number}",
            "labels": {"app": "web", "tier": "front"},
            "annotations": annotations,
            "ownerReferences": [{"kind": "StatefulSet", "name": "web", "controller": True}],
        },
        "spec": {
            "nodeName": "n1",
            "readinessGates": [{"conditionType": "target-health"}],
            "schedulingGates": [{"name": "wait"}],
            "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1", "aliyun/erdma": "1"}}}
            ],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.0.0.{number}"}],
            "conditions": [{"type": "Ready", "status": "True", "message": f"since {number}"}],
        },
    }
    return WATCHED_PODS.decoder.decode(msgspec.json.encode(body))


def test_what_controllers_read_is_kept():
    kept = shrink_pod(pod(7, **{"k8s.aliyun.com/pod-eni": "true"}))

    assert kept.metadata.uid == "u-7"
    assert kept.metadata.annotations == {"k8s.aliyun.com/pod-eni": "true"}
    assert kept.metadata.owner_references[0].kind == "StatefulSet"
    assert kept.spec.node_name == "n1"
    assert kept.spec.containers[0].resources.limits == {"aliyun/erdma": "1"}
    assert kept.spec.readiness_gates[0].condition_type == "target-health"
    assert kept.spec.scheduling_gates[0].name == "wait"
    assert kept.status.pod_ips[0].ip == "10.0.0.7"
    assert [(one.type, one.status) for one in kept.status.conditions] == [("Ready", "True")]


def test_annotations_of_others_go():
    kept = shrink_pod(
        pod(
            1,
            **{
                "prometheus.io/scrape": "1",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        )
    )
    assert kept.metadata.annotations == {}


def test_pods_of_one_template_share_what_is_the_same():
    """bug class 55: memory that grows with the number of pods."""
    first, second = shrink_pod(pod(1)), shrink_pod(pod(2))

    assert first.metadata.labels is second.metadata.labels
    assert first.spec.containers is second.spec.containers
    assert first.metadata.owner_references is second.metadata.owner_references


def test_to_shrink_twice_is_to_shrink_once():
    once = shrink_pod(pod(1))
    assert shrink_pod(once) == once


def test_what_a_heartbeat_says_of_a_node_is_not_kept():
    def beaten(at: str) -> Node:
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": at}
        body = {"metadata": {"name": "n1"}, "status": {"conditions": [condition]}}
        return WATCHED_NODES.decoder.decode(msgspec.json.encode(body))

    assert shrink_node(beaten("2026-01-01T00:00:00Z")) == shrink_node(
        beaten("2026-01-01T00:05:00Z")
    )
