"""Which fields does the server fill in when an object comes without them?

Source: k8s.io/kubernetes pkg/apis/core/v1/defaults.go and pkg/apis/apps/v1/defaults.go, v1.32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terway.lab.kubeapi.customresources.definitions import definition_defaults
from terway.lab.kubeapi.customresources.pruning import fill
from terway.lab.kubeapi.networkpolicy import network_policy_defaults
from terway.lab.kubeapi.objects import Object, name_of, read_path
from terway.lab.kubeapi.rbac.validation import binding_defaults
from terway.lab.kubeapi.resources import (
    CLUSTER_ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    MUTATING_WEBHOOKS,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    POD,
    REPLICA_SET,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    VALIDATING_WEBHOOKS,
    ResourceDef,
)
from terway.lab.kubeapi.secrets import secret_defaults
from terway.lab.kubeapi.services.defaults import service_defaults
from terway.lab.kubeapi.services.slices import slice_defaults
from terway.lab.kubeapi.statefulsets import stateful_set_defaults
from terway.lab.kubeapi.webhooks.configurations import mutating_defaults, validating_defaults

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_EVICT_AFTER_S = 300  # how long a pod stays on a node that is gone


def _fill(value: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    return {**wanted, **{field: held for field, held in value.items() if held is not None}}


def with_defaults(resource: ResourceDef, obj: Object) -> Object:
    """Return the object with everything filled in that its kind has a default for."""
    if resource.custom:
        filled: Object = fill(obj, resource.custom.schema)
        return filled
    fill_in = _BY_KIND.get(resource)
    return fill_in(obj) if fill_in else obj


def _probe(probe: Any) -> Any:
    if not probe:
        return probe
    filled = _fill(
        probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3
    )
    if "httpGet" in filled:
        filled["httpGet"] = _fill(filled["httpGet"], path="/", scheme="HTTP")
    return filled


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _container(container: dict[str, Any]) -> dict[str, Any]:
    filled = _fill(
        container,
        imagePullPolicy=_pull_policy(str(container.get("image", ""))),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    if filled.get("ports"):
        filled["ports"] = [_fill(port, protocol="TCP") for port in filled["ports"]]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in filled:
            filled[name] = _probe(filled[name])
    limits = read_path(filled, "resources.limits", {})
    if limits:
        requests = {**limits, **(filled["resources"].get("requests") or {})}
        filled["resources"] = {**filled["resources"], "requests": requests}
    return filled


def _volume(volume: dict[str, Any]) -> dict[str, Any]:
    sources = [field for field in volume if field != "name"]
    if not sources:
        return {**volume, "emptyDir": {}}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            return {**volume, source: _fill(volume[source] or {}, defaultMode=0o644)}
    if "hostPath" in volume:
        return {**volume, "hostPath": _fill(volume["hostPath"], type="")}
    return volume


def pod_spec_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's spec, or a template's, with its defaults."""
    filled = _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for group in ("containers", "initContainers"):
        if filled.get(group):
            filled[group] = [_container(container) for container in filled[group]]
    if filled.get("volumes"):
        filled["volumes"] = [_volume(volume) for volume in filled["volumes"]]
    if filled.get("hostNetwork"):
        for container in filled.get("containers") or ():
            for port in container.get("ports") or ():
                port.setdefault("hostPort", port.get("containerPort"))
    return filled


def _pod(pod: Object) -> Object:
    spec = _fill(
        pod_spec_defaults(pod.get("spec") or {}),
        serviceAccountName="default",
        enableServiceLinks=True,
        preemptionPolicy="PreemptLowerPriority",
        priority=0,
    )
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec["tolerations"] = _with_eviction_tolerations(spec.get("tolerations") or [])
    status = _fill(pod.get("status") or {}, phase="Pending", qosClass=qos_class(spec))
    return {**pod, "spec": spec, "status": status}


def _with_eviction_tolerations(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # What the admission plugin DefaultTolerationSeconds adds.
    uncovered = [
        key
        for key in (NOT_READY, UNREACHABLE)
        if not any(_covers(held, key) for held in tolerations)
    ]
    return tolerations + [_evict_later(key) for key in uncovered]


def _evict_later(key: str) -> dict[str, Any]:
    return {
        "key": key,
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _EVICT_AFTER_S,
    }


def _covers(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (
        None,
        "",
        "NoExecute",
    )


def qos_class(spec: dict[str, Any]) -> str:
    """Return Guaranteed, Burstable or BestEffort, from the containers' requests and limits."""
    held = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(one.get("requests") or one.get("limits") for one in held):
        return "BestEffort"
    for one in held:
        limits, requests = one.get("limits") or {}, one.get("requests") or {}
        if any(not limits.get(n) or limits.get(n) != requests.get(n) for n in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _template(obj: Object) -> Object:
    template = read_path(obj, "spec.template", {})
    filled = {
        **template,
        "metadata": template.get("metadata") or {},
        "spec": pod_spec_defaults(template.get("spec") or {}),
    }
    return {**obj, "spec": {**(obj.get("spec") or {}), "template": filled}}


def _deployment(obj: Object) -> Object:
    obj = _template(obj)
    spec = _fill(
        obj["spec"],
        replicas=1,
        revisionHistoryLimit=10,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = _fill(spec["strategy"], type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _fill(strategy.get("rollingUpdate") or {}, maxSurge="25%", maxUnavailable="25%")
        strategy["rollingUpdate"] = rolling
    return {**obj, "spec": {**spec, "strategy": strategy}}


def _replica_set(obj: Object) -> Object:
    obj = _template(obj)
    return {**obj, "spec": _fill(obj["spec"], replicas=1)}


def _daemon_set(obj: Object) -> Object:
    obj = _template(obj)
    spec = _fill(obj["spec"], revisionHistoryLimit=10, updateStrategy={})
    strategy = _fill(spec["updateStrategy"], type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = _fill(strategy.get("rollingUpdate") or {}, maxSurge=0, maxUnavailable=1)
        strategy["rollingUpdate"] = rolling
    return {**obj, "spec": {**spec, "updateStrategy": strategy}}


def _stateful_set(obj: Object) -> Object:
    obj = _template(obj)
    return {**obj, "spec": stateful_set_defaults(obj["spec"])}


def _namespace(obj: Object) -> Object:
    # The label lets a namespaceSelector name a namespace (KEP-2161).
    meta = obj["metadata"]
    labels = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": name_of(obj)}
    return {
        **obj,
        "metadata": {**meta, "labels": labels},
        "spec": _fill(obj.get("spec") or {}, finalizers=["kubernetes"]),
        "status": _fill(obj.get("status") or {}, phase="Active"),
    }


def _node(obj: Object) -> Object:
    return {**obj, "spec": obj.get("spec") or {}, "status": obj.get("status") or {}}


_BY_KIND: dict[ResourceDef, Callable[[Object], Object]] = {
    POD: _pod,
    DEPLOYMENT: _deployment,
    REPLICA_SET: _replica_set,
    DAEMON_SET: _daemon_set,
    STATEFUL_SET: _stateful_set,
    NAMESPACE: _namespace,
    NODE: _node,
    SECRET: secret_defaults,
    SERVICE: service_defaults,
    ENDPOINT_SLICE: slice_defaults,
    NETWORK_POLICY: network_policy_defaults,
    CUSTOM_RESOURCE_DEFINITION: definition_defaults,
    MUTATING_WEBHOOKS: mutating_defaults,
    VALIDATING_WEBHOOKS: validating_defaults,
    ROLE_BINDING: binding_defaults,
    CLUSTER_ROLE_BINDING: binding_defaults,
}
