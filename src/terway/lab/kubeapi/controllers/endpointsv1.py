"""Which Endpoints object does each Service have? What slices say, as older clients read it.

One object a Service, of its first family, without pods that go away: kubectl describes Services
by it. Source: k8s.io/kubernetes pkg/controller/endpoint, v1.34.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from terway.lab.kubeapi.controllers.actions import Action, Create, Delete, Patch
from terway.lab.kubeapi.controllers.endpoints import (
    Groups,
    families_of,
    groups_of,
    port_objects,
)
from terway.lab.kubeapi.controllers.endpointslices import concerned_keys, has_slices, selects
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import (
    Object,
    labels_of,
    name_of,
    namespace_of,
    read_path,
)
from terway.lab.kubeapi.resources import ENDPOINTS, SERVICE
from terway.lab.kubeapi.store import Key, key_of

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OURS = "endpoint-controller"
_ADDRESSES_MAX = 1000


def plan_endpoints(view: View) -> Iterator[Action]:
    """Yield what makes the Endpoints of Services those of their pods."""
    pods: defaultdict[str, list[Object]] = defaultdict(list)
    nodes = {name_of(node): node for node in view.nodes}
    for pod in view.pods:
        pods[namespace_of(pod)].append(pod)
    for key in _keys(view):
        service, held = view.find(SERVICE, key), view.find(ENDPOINTS, key)
        if service is not None and has_slices(service):
            chosen = [pod for pod in pods[key.namespace] if selects(service, pod)]
            yield from _write(service, held, groups_of(service, chosen, nodes))
        elif service is None and held is not None and labels_of(held).get(MANAGED_BY) == OURS:
            yield Delete(resource=ENDPOINTS, object=held)


def _keys(view: View) -> list[Key]:
    """The Services that the changes concern, and those that are no more."""
    keys = set(concerned_keys(view))
    if view.changes is None:
        keys |= {key_of(one) for one in view.unsorted(ENDPOINTS)}
    return sorted(keys)


def _write(service: Object, held: Object | None, groups: Groups) -> Iterator[Action]:
    subsets = list(_subsets(service, groups))
    labels = {**labels_of(service), MANAGED_BY: OURS}
    if held is None:
        meta = {"name": name_of(service), "namespace": namespace_of(service), "labels": labels}
        yield Create(resource=ENDPOINTS, object={"metadata": meta, "subsets": subsets})
    elif labels_of(held).get(MANAGED_BY) == OURS and (
        (held.get("subsets") or []) != subsets or labels_of(held) != labels
    ):
        gone = {label: None for label in labels_of(held) if label not in labels}
        patch = {"subsets": subsets, "metadata": {"labels": {**gone, **labels}}}
        yield Patch(resource=ENDPOINTS, object=held, patch=patch)


def _subsets(service: Object, groups: Groups) -> Iterator[Object]:
    family = families_of(service)[0]
    publishes_all = bool(read_path(service, "spec.publishNotReadyAddresses", False))
    for key in sorted(groups, key=lambda one: one.ports):
        staying = [
            one
            for _, one in sorted(groups[key].items())
            if publishes_all or not one["conditions"]["terminating"]
        ][:_ADDRESSES_MAX]
        if key.address_type != family or not staying:
            continue
        subset: Object = {}
        for name, is_ready in (("addresses", True), ("notReadyAddresses", False)):
            found = [_address(one) for one in staying if one["conditions"]["ready"] is is_ready]
            if found:
                subset[name] = found
        yield {**subset, **({"ports": ports} if (ports := port_objects(key.ports)) else {})}


def _address(endpoint: Object) -> Object:
    names = ("targetRef", "nodeName", "hostname")
    kept: Object = {name: endpoint[name] for name in names if name in endpoint}
    return {"ip": endpoint["addresses"][0], **kept}
