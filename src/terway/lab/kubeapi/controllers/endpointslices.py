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
from terway.lab.kubeapi.store import Change, Key, key_of

MAX_ENDPOINTS = 100  # kube-controller-manager --max-endpoints-per-slice
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
OURS = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
_RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS)


def plan_endpoint_slices(view: View, *, limit: int = MAX_ENDPOINTS) -> Iterator[Action]:
    """Yield what makes the slices of Services those of their pods."""
    found = ((key, view.find(SERVICE, key)) for key in sorted(concerned_keys(view)))
    concerned = {key: one for key, one in found if one is not None and has_slices(one)}
    if not concerned:
        return
    held: defaultdict[Key, list[Object]] = defaultdict(list)
    namespaces = {key.namespace for key in concerned}
    where = namespaces.pop() if len(namespaces) == 1 else ""
    for one in view.unsorted(ENDPOINT_SLICE, where):
        if (key := _service_of(one)) in concerned and labels_of(one).get(MANAGED_BY) == OURS:
            held[key].append(one)
    pods: defaultdict[str, list[Object]] = defaultdict(list)
    for pod in view.pods:
        pods[namespace_of(pod)].append(pod)
    nodes = {name_of(node): node for node in view.nodes}
    for key, service in concerned.items():
        chosen = [pod for pod in pods[key.namespace] if selects(service, pod)]
        mine = sorted(held[key], key=name_of)
        yield from _plan_service(service, chosen, nodes, mine, limit)


def concerned_keys(view: View) -> Iterator[Key]:
    """Yield the Services whose endpoints may be others after the changes; all, if unknown.

    Some of them may be there no longer.
    """
    if view.changes is None or any(one.resource is NODE for one in view.changes):
        yield from (key_of(one) for one in view.unsorted(SERVICE))
        return
    keys = {one.key for one in view.changes if one.resource is SERVICE}
    slices = (one.new.object for one in view.changes if one.resource is ENDPOINT_SLICE)
    keys |= {_service_of(one) for one in slices}
    for change in view.changes:
        if change.resource is POD:
            keys |= {key_of(one) for one in _services_of_pod(view, change)}
    yield from keys


def _services_of_pod(view: View, change: Change) -> Iterator[Object]:
    versions = [one.object for one in (change.old, change.new) if one is not None]
    for service in view.unsorted(SERVICE, change.key.namespace):
        if has_slices(service) and any(selects(service, pod) for pod in versions):
            yield service


def _service_of(held: Object) -> Key:
    return Key(namespace_of(held), labels_of(held).get(SERVICE_NAME, ""))


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


def selects(service: Object, pod: Object) -> bool:
    """Return whether a pod of the Service's namespace is one of its pods."""
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
