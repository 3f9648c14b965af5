"""What does the server add to, or refuse of, an object, given the rest of the cluster?"""

from __future__ import annotations

from itertools import chain

from terway.lab.kubeapi.defaults import NOT_READY
from terway.lab.kubeapi.errors import forbidden, not_found
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    is_terminating,
    name_of,
    namespace_of,
    read_path,
    replace_in,
)
from terway.lab.kubeapi.resources import NAMESPACE, NODE, SERVICE, ResourceDef
from terway.lab.kubeapi.serviceaddresses import ServiceRanges, with_addresses
from terway.lab.kubeapi.servicefamilies import HEADLESS, addresses_in
from terway.lab.kubeapi.services.fields import needs_node_port, node_ports_of
from terway.lab.kubeapi.services.nodeports import with_node_ports
from terway.lab.kubeapi.store import Key, Store, key_of


def admit(store: Store, resource: ResourceDef, obj: Object, *, services: ServiceRanges) -> Object:
    """Return the object as admitted. ApiError 403 or 404 when its namespace is no place for it."""
    if resource.namespaced:
        _check_namespace(store, resource, obj)
    if resource is NODE:
        return _with_not_ready_taint(obj)
    if resource is SERVICE:
        return _with_node_ports(store, _with_addresses(store, obj, None, services), None)
    return obj


def admit_change(
    store: Store, resource: ResourceDef, held: Object, obj: Object, *, services: ServiceRanges
) -> Object:
    """Return what is to be stored in place of `held`."""
    if resource is SERVICE:
        return _with_node_ports(store, _with_addresses(store, obj, held, services), held)
    return obj


def _with_node_ports(store: Store, service: Object, held: Object | None) -> Object:
    if not needs_node_port(service["spec"]):
        return service
    others = (one.object for one in store.items(SERVICE) if key_of(one.object) != key_of(service))
    taken = frozenset(chain.from_iterable(node_ports_of(one["spec"]) for one in others))
    return with_node_ports(service, taken, held)


def _with_addresses(
    store: Store, service: Object, held: Object | None, ranges: ServiceRanges
) -> Object:
    others = (one.object for one in store.items(SERVICE) if key_of(one.object) != key_of(service))
    taken = chain.from_iterable(addresses_in(one["spec"]) for one in others)
    return with_addresses(
        service, held, ranges=ranges, taken=[one for one in taken if one != HEADLESS]
    )


def _check_namespace(store: Store, resource: ResourceDef, obj: Object) -> None:
    namespace = namespace_of(obj)
    held = store.get(NAMESPACE, Key("", namespace))
    if held is None:
        raise not_found(NAMESPACE, namespace)
    if is_terminating(held.object):
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        error = forbidden(resource, name_of(obj), why)
        error.details["causes"] = [{"reason": "NamespaceTerminating", "message": why}]
        raise error


def _with_not_ready_taint(node: Object) -> Object:
    # So that no pod lands on a node before its network is up (NodeTaint admission plugin).
    taints = read_path(node, "spec.taints", [])
    if is_condition_true(node, "Ready") or any(taint.get("key") == NOT_READY for taint in taints):
        return node
    return replace_in(node, "spec.taints", [*taints, {"key": NOT_READY, "effect": "NoSchedule"}])
