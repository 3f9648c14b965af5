"""Upstream Terway as an API server shows it: what its charts put there, without its images' work.

From the description of upstream's charts: names, labels, containers, affinity, webhooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMESPACE = "kube-system"
PAUSE = "registry.k8s.io/pause:3.10"
AGENTS, CONTROL_PLANE = "terway-eniip", "terway-controlplane"


def daemon_set(
    *, command: Sequence[str] = (), mounts: Sequence[tuple[str, str]] = (), **env: str
) -> dict[str, Any]:
    """Return the DaemonSet of upstream's agents; `mounts` are (name, path)."""
    agent = {
        "name": "terway",
        "image": "registry/terway:v1.17.5" if command else PAUSE,
        **({"command": list(command)} if command else {}),
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts],
    }
    volumes = [{"name": name, "hostPath": {"path": path}} for name, path in mounts]
    expressions = [
        {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
        {"key": "k8s.aliyun.com/ignore-by-terway", "operator": "NotIn", "values": ["true"]},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": AGENTS, "namespace": NAMESPACE, "labels": {"app": AGENTS}},
        "spec": {
            "selector": {"matchLabels": {"app": AGENTS}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {
                "metadata": {"labels": {"app": AGENTS}},
                "spec": {
                    "hostNetwork": True,
                    "hostPID": True,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"operator": "Exists"}],
                    "affinity": _affinity(expressions),
                    "containers": [agent, {"name": "policy", "image": PAUSE}],
                    "volumes": volumes,
                },
            },
        },
    }


def _affinity(expressions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # Two alternatives: a term that is left as it is would let the agents in.
    terms = [
        {"matchExpressions": [*expressions, one]}
        for one in (
            {"key": "kubernetes.io/arch", "operator": "NotIn", "values": ["arm64"]},
            {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]},
        )
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def control_plane() -> list[dict[str, Any]]:
    """Return upstream's Deployment, its webhooks and its role."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": CONTROL_PLANE, "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            # Ours has another selector, which nobody can change: it must be made anew.
            "selector": {"matchLabels": {"k8s-app": CONTROL_PLANE}},
            "template": {
                "metadata": {"labels": {"k8s-app": CONTROL_PLANE}},
                "spec": {
                    "hostNetwork": True,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {"name": CONTROL_PLANE, "image": PAUSE},
                        {"name": "cilium-operator-generic", "image": PAUSE},
                    ],
                },
            },
        },
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "terway"},
        "rules": [
            {"apiGroups": ["crd.projectcalico.org"], "resources": ["*"], "verbs": ["get", "list"]}
        ],
    }
    return [role, *webhooks(), deployment]


def webhooks(**client: Any) -> list[dict[str, Any]]:
    """Return upstream's webhook configurations; `client` says where it is, beside its Service."""
    pods = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
        "scope": "Namespaced",
    }
    opted = {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]}
    return [
        _webhook("Mutating", "Ignore", "/mutating", client, pods, opted=opted),
        _webhook("Validating", "Fail", "/validate", client),
    ]


def _webhook(
    kind: str, policy: str, path: str, client: dict[str, Any], *rules: Any, opted: Any = None
) -> dict[str, Any]:
    service = {"name": CONTROL_PLANE, "namespace": NAMESPACE, "path": path}
    networkings = {
        "apiGroups": ["network.alibabacloud.com"],
        "apiVersions": ["*"],
        "operations": ["CREATE"],
        "resources": ["podnetworkings"],
        "scope": "Cluster",
    }
    verb = "mutating" if kind == "Mutating" else "validate"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": CONTROL_PLANE},
        "webhooks": [
            {
                "name": f"{CONTROL_PLANE}.{verb}.k8s.io",
                "clientConfig": client or {"service": service},
                **({"namespaceSelector": {"matchExpressions": [opted]}} if opted else {}),
                "rules": [*rules, networkings],
                "failurePolicy": policy,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1", "v1beta1"],
            }
        ],
    }


def eni_config() -> dict[str, Any]:
    """Return upstream's configuration, which stays."""
    conf = (
        '{"version":"1","vswitches":{"cn-hangzhou-i":["vsw-1"]},"security_group":"sg-1",'
        '"service_cidr":"172.16.0.0/16","max_pool_size":5}'
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "eni-config", "namespace": NAMESPACE},
        "data": {
            "eni_conf": conf,
            "10-terway.conf": '{"cniVersion":"0.4.0","name":"terway","type":"terway"}',
            "disable_network_policy": "false",
        },
    }
