"""Which EndpointSlices does each Service with a selector have?

Services without a selector, and ExternalName, are left to whoever writes their slices.
Source: k8s.io/kubernetes pkg/controller/endpointslice and k8s.io/endpointslice, v1.34.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from terway.lab.kubeapi.controllers.actions import Action, Create, Delete, Patch
from terway.lab.kubeapi.controllers.endpoints import (
    ZONE,
    GroupKey,
    families_of,
    groups_of,
    port_objects,
    ports_of_slice,
)
from terway.lab.kubeapi.controllers.slicing import Slicing, plan_slices
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    owner_reference,
    read_path,
)
from terway.lab.kubeapi.resources import ENDPOINT_SLICE, NODE, POD, SERVICE
from terway.lab.kubeapi.services.fields import is_headless
from terway.lab.kubeapi.store import Change

MAX_ENDPOINTS = 100  # kube-controller-manager --max-endpoints-per-slice
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
OURS = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
_RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS)


def plan_endpoint_slices(view: View, *, limit: int = MAX_ENDPOINTS) -> Iterator[Action]:
    """Yield what makes the slices of all Services those of their pods."""
    held: defaultdict[tuple[str, str], list[Object]] = defaultdict(list)
    for one in view.all(ENDPOINT_SLICE):
        if labels_of(one).get(MANAGED_BY) == OURS:
            held[(namespace_of(one), labels_of(one).get(SERVICE_NAME, ""))].append(one)
    pods: defaultdict[str, list[Object]] = defaultdict(list)
    for pod in view.pods:
        pods[namespace_of(pod)].append(pod)
    nodes = {name_of(node): node for node in view.nodes}
    for service in view.all(SERVICE):
        if has_slices(service):
            chosen = [pod for pod in pods[namespace_of(service)] if _selects(service, pod)]
            mine = held[(namespace_of(service), name_of(service))]
            yield from _plan_service(service, chosen, nodes, mine, limit)


def has_slices(service: Object) -> bool:
    """Return whether the slices of a Service are this controller's."""
    is_elsewhere = read_path(service, "spec.type") == "ExternalName"
    return bool(read_path(service, "spec.selector")) and not is_elsewhere


def concerns_slices(change: Change) -> bool:
    """Return whether slices may have to be others after a change; heartbeats are none."""
    new, old = change.new.object, change.old.object if change.old else {}
    if change.is_deletion:
        old = {}
    match change.resource:
        case resource if resource is POD:
            return _of_pod(old) != _of_pod(new)
        case resource if resource is NODE:
            return not old or labels_of(old).get(ZONE) != labels_of(new).get(ZONE)
        case resource if resource is SERVICE:
            return has_slices(new) and (old.get("spec"), labels_of(old)) != (
                new.get("spec"),
                labels_of(new),
            )
        case resource if resource is ENDPOINT_SLICE:
            return labels_of(new).get(MANAGED_BY) == OURS
        case _:
            return False


def _of_pod(pod: Object) -> tuple[object, ...]:
    if not pod:
        return ()
    return (
        labels_of(pod),
        metadata(pod).get("deletionTimestamp"),
        read_path(pod, "spec.nodeName"),
        read_path(pod, "status.phase"),
        read_path(pod, "status.podIPs"),
        is_condition_true(pod, "Ready"),
    )


def _selects(service: Object, pod: Object) -> bool:
    selector: dict[str, str] = service["spec"]["selector"]
    return selector.items() <= labels_of(pod).items()


def _plan_service(
    service: Object,
    pods: list[Object],
    nodes: dict[str, Object],
    held: list[Object],
    limit: int,
) -> Iterator[Action]:
    groups = groups_of(service, pods, nodes)
    known = families_of(service)
    for one in held:
        if _group_of(one) not in groups or one.get("addressType") not in known:
            yield Delete(resource=ENDPOINT_SLICE, object=one)
    for key, wanted in groups.items():
        mine = [one for one in held if _group_of(one) == key]
        slicing = plan_slices(wanted, mine, limit=limit, keeps_one=not wanted)
        yield from _write(service, key, slicing, mine)


def _group_of(held: Object) -> GroupKey:
    return GroupKey(str(held.get("addressType", "")), ports_of_slice(held))


def _write(
    service: Object, key: GroupKey, slicing: Slicing, held: list[Object]
) -> Iterator[Action]:
    labels = _labels(service)
    changed = {name_of(one): endpoints for one, endpoints in slicing.changed}
    for one in held:
        if one in slicing.deleted:
            yield Delete(resource=ENDPOINT_SLICE, object=one)
            continue
        patch: Object = {}
        if name_of(one) in changed:
            patch["endpoints"] = changed[name_of(one)]
        if labels_of(one) != labels:
            gone = {label: None for label in labels_of(one) if label not in labels}
            patch["metadata"] = {"labels": {**gone, **labels}}
        if patch:
            yield Patch(resource=ENDPOINT_SLICE, object=one, patch=patch)
    for endpoints in slicing.created:
        yield Create(resource=ENDPOINT_SLICE, object=_slice(service, key, labels, endpoints))


def _labels(service: Object) -> dict[str, str]:
    """The Service's own labels, without any by which it might pass for somebody else's."""
    own = {label: value for label, value in labels_of(service).items() if label not in _RESERVED}
    headless = {HEADLESS: ""} if is_headless(service["spec"]) else {}
    return {**own, **headless, SERVICE_NAME: name_of(service), MANAGED_BY: OURS}


def _slice(
    service: Object, key: GroupKey, labels: dict[str, str], endpoints: list[Object]
) -> Object:
    return {
        "metadata": {
            "generateName": f"{name_of(service)}-",
            "namespace": namespace_of(service),
            "labels": labels,
            "ownerReferences": [owner_reference(service, api_version="v1", kind="Service")],
        },
        "addressType": key.address_type,
        "endpoints": endpoints,
        "ports": port_objects(key.ports),
    }
