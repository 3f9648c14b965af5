"""What does the API server show of a migration? Raw objects, and the values that decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from terway.cli.migrate_cluster import (
    APPLIED,
    LABEL,
    NAMESPACE,
    SAVED,
    Agent,
    Cluster,
    Hook,
    Job,
    Member,
    Phase,
    Taken,
    Workload,
)
from terway.kube.client import KubeClient
from terway.kube.resource import Resource

Object = Mapping[str, Any]

OUR_AGENTS = "terway"
_CONTROL_PLANE = "terway-controlplane"
_NAMES = frozenset({OUR_AGENTS, "terway-eniip", "terway-eni", _CONTROL_PLANE})
# Names of entries that upstream's webhooks do not have.
_OUR_HOOKS = ("is-terway-controlplane-up.", "own-pods.")


def raw(group: str, version: str, plural: str, kind: str, *, namespaced: bool) -> Resource[Any]:
    """Return a resource whose objects are read whole."""
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        read_as=dict,
    )


DEFINITION = "CustomResourceDefinition"
GROUP = "network.alibabacloud.com"  # of the custom resources of both
_RBAC, _ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
# Every kind that a migration writes, and how it is found.
KINDS: Mapping[str, Resource[Any]] = {
    one.kind: one
    for one in (
        raw(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            DEFINITION,
            namespaced=False,
        ),
        raw("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True),
        raw("", "v1", "configmaps", "ConfigMap", namespaced=True),
        raw("", "v1", "services", "Service", namespaced=True),
        raw(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
        raw(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        raw(_RBAC, "v1", "roles", "Role", namespaced=True),
        raw(_RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True),
        raw("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True),
        raw(
            _ADMISSION,
            "v1",
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
            namespaced=False,
        ),
        raw(
            _ADMISSION,
            "v1",
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
            namespaced=False,
        ),
        raw("apps", "v1", "deployments", "Deployment", namespaced=True),
        raw("apps", "v1", "daemonsets", "DaemonSet", namespaced=True),
    )
}
PODS = raw("", "v1", "pods", "Pod", namespaced=True)
NODES = raw("", "v1", "nodes", "Node", namespaced=False)
HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


async def read_cluster(client: KubeClient) -> Cluster:
    """Return what there is now."""
    pods = (await client.list(PODS, namespace=NAMESPACE)).items
    workloads = [
        _workload(kind, one, pods)
        for kind in ("DaemonSet", "Deployment")
        for one in await listed(client, kind)
    ]
    nodes = (await client.list(NODES)).items
    saved = await client.get(KINDS["ConfigMap"], SAVED, namespace=NAMESPACE)
    return Cluster(
        workloads=tuple(workloads),
        hooks=tuple([_hook(kind, one) for kind in HOOKS for one in await listed(client, kind)]),
        members=tuple(_member(one, pods, workloads) for one in nodes),
        is_saved=saved is not None,
    )


async def definitions(client: KubeClient) -> tuple[dict[str, Any], ...]:
    """Return the definitions of both Terways' custom resources, with their kind."""
    resource = KINDS[DEFINITION]
    about = {"apiVersion": resource.api_version, "kind": DEFINITION}
    found = (await client.list(resource)).items
    return tuple({**one, **about} for one in found if one["spec"]["group"] == GROUP)


async def listed(client: KubeClient, kind: str) -> tuple[dict[str, Any], ...]:
    """Return the objects of a kind that are of one Terway or the other, by their names.

    With their kind, which servers leave out in lists.
    """
    resource = KINDS[kind]
    found = await client.list(resource, namespace=NAMESPACE if resource.namespaced else None)
    about = {"apiVersion": resource.api_version, "kind": kind}
    return tuple({**one, **about} for one in found.items if one["metadata"]["name"] in _NAMES)


def is_ours(one: Object) -> bool:
    """Return whether a workload is of this Terway.

    Of what Helm has put there, its pods have one container; upstream's have a second one, for
    policies or for Cilium's identities.
    """
    meta = one["metadata"]
    if APPLIED in (meta.get("annotations") or {}):
        return True
    containers = one["spec"]["template"]["spec"].get("containers") or ()
    return len(containers) == 1 and meta["name"] in (OUR_AGENTS, _CONTROL_PLANE)


def _workload(kind: str, one: Object, pods: Iterable[Object]) -> Workload:
    meta, spec, status = one["metadata"], one["spec"], one.get("status") or {}
    own = [pod for pod in pods if _matches(pod, spec["selector"]["matchLabels"])]
    return Workload(
        kind=kind,
        name=meta["name"],
        is_ours=is_ours(one),
        replicas=spec.get("replicas", 1) if kind == "Deployment" else None,
        pods=len(own),
        is_apart=_is_selective(one) if is_ours(one) else is_apart(one),
        is_settled=_is_settled(meta, spec, status),
        is_going=bool(meta.get("deletionTimestamp")),
        applied=(meta.get("annotations") or {}).get(APPLIED, ""),
    )


def _is_settled(meta: Object, spec: Object, status: Object) -> bool:
    """Return whether the controller has seen the newest template, and its pods are of it."""
    if status.get("observedGeneration", 0) < meta.get("generation", 1):
        return False
    if "replicas" in spec:  # a Deployment
        wanted = spec["replicas"]
        return bool(
            status.get("updatedReplicas", 0) == wanted == status.get("availableReplicas", 0)
        )
    wanted = status.get("desiredNumberScheduled", 0)
    return bool(
        status.get("updatedNumberScheduled", 0) == wanted == status.get("numberAvailable", 0)
    )


def is_apart(one: Object) -> bool:
    """Return whether a DaemonSet keeps off nodes that are not upstream's."""
    affinity = one["spec"]["template"]["spec"].get("affinity") or {}
    return LABEL in msgspec.json.encode(affinity).decode()


def _is_selective(one: Object) -> bool:
    """Return whether our agents are only where a node's label says so."""
    selector = one["spec"]["template"]["spec"].get("nodeSelector") or {}
    return LABEL in selector


def _hook(kind: str, one: Object) -> Hook:
    names = [str(entry["name"]) for entry in one.get("webhooks") or ()]
    is_own = any(mark in name for name in names for mark in _OUR_HOOKS)
    return Hook(kind=kind, name=one["metadata"]["name"], is_ours=is_own)


def _member(node: Object, pods: Iterable[Object], workloads: Iterable[Workload]) -> Member:
    meta = node["metadata"]
    name = meta["name"]
    here = [one for one in pods if one["spec"].get("nodeName") == name]
    ours = {one.name for one in workloads if one.kind == "DaemonSet" and one.is_ours}
    theirs = {one.name for one in workloads if one.kind == "DaemonSet" and not one.is_ours}
    return Member(
        name=name,
        taken=_taken((meta.get("labels") or {}).get(LABEL, "")),
        theirs=_agent(here, theirs),
        ours=_agent(here, ours | {OUR_AGENTS}),
        check=_phase(here, Job.CHECK),
        returning=_phase(here, Job.RETURN),
    )


def _taken(value: str) -> Taken:
    """Return what a label says; what is none of our values is upstream's."""
    return next((one for one in Taken if one.value == value), Taken.NO)


def _agent(pods: Iterable[Object], owners: set[str]) -> Agent:
    found = list(_states(pods, owners))
    order = (Agent.GOING, Agent.COMING, Agent.READY)
    return next((one for one in order if one in found), Agent.NONE)


def _states(pods: Iterable[Object], owners: set[str]) -> Iterator[Agent]:
    for pod in pods:
        meta = pod["metadata"]
        names = {one["name"] for one in meta.get("ownerReferences") or ()}
        if not names & owners:
            continue
        if meta.get("deletionTimestamp"):
            yield Agent.GOING
        else:
            yield Agent.READY if _is_ready(pod) else Agent.COMING


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _phase(pods: Iterable[Object], job: Job) -> Phase:
    for pod in pods:
        if (pod["metadata"].get("labels") or {}).get(SAVED) == job.value:
            match (pod.get("status") or {}).get("phase"):
                case "Succeeded":
                    return Phase.SUCCEEDED
                case "Failed":
                    return Phase.FAILED
                case _:
                    return Phase.RUNNING
    return Phase.NONE


def _matches(pod: Object, wanted: Mapping[str, str]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return wanted.items() <= labels.items()
