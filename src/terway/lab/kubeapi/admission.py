"""What does the server add to, or refuse of, an object, given the rest of the cluster?"""

from __future__ import annotations

from dataclasses import dataclass

from terway.lab.kubeapi.defaults import NOT_READY
from terway.lab.kubeapi.errors import ApiError, forbidden, not_found
from terway.lab.kubeapi.gates import with_gated_condition
from terway.lab.kubeapi.objects import (
    Object,
    is_condition_true,
    is_terminating,
    name_of,
    namespace_of,
    read_path,
    replace_in,
)
from terway.lab.kubeapi.resources import (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    ResourceDef,
)
from terway.lab.kubeapi.serviceaddresses import ServiceRanges, with_addresses
from terway.lab.kubeapi.services.allocations import Allocations
from terway.lab.kubeapi.services.nodeports import with_node_ports
from terway.lab.kubeapi.store import Key, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRoom:
    """What Services can be given, and what of it they have."""

    ranges: ServiceRanges
    taken: Allocations


def admit(store: Store, resource: ResourceDef, obj: Object, *, services: ServiceRoom) -> Object:
    """Return the object as admitted. ApiError 403 or 404 when its namespace is no place for it."""
    if resource.custom and resource.custom.is_terminating:
        why = "create not allowed while custom resource definition is terminating"
        raise ApiError(405, "MethodNotAllowed", why)
    if resource.namespaced:
        _check_namespace(store, resource, obj)
    if resource is POD:
        _check_account(store, obj)
        return with_gated_condition(obj)
    if resource is NODE:
        return _with_not_ready_taint(obj)
    return _allocated(obj, None, services) if resource is SERVICE else obj


def admit_change(
    resource: ResourceDef, held: Object, obj: Object, *, services: ServiceRoom
) -> Object:
    """Return what is to be stored in place of `held`."""
    return _allocated(obj, held, services) if resource is SERVICE else obj


def _allocated(service: Object, held: Object | None, room: ServiceRoom) -> Object:
    addressed = with_addresses(service, held, ranges=room.ranges, taken=room.taken)
    return with_node_ports(addressed, room.taken.ports, held)


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


def _check_account(store: Store, pod: Object) -> None:
    """Raise ApiError 403 for a service account that is not there (ServiceAccount plugin).

    The account `default` is not asked for: it is only late, never missing.
    """
    namespace, name = namespace_of(pod), read_path(pod, "spec.serviceAccountName", "default")
    if name != "default" and store.get(SERVICE_ACCOUNT, Key(namespace, name)) is None:
        why = (
            f"error looking up service account {namespace}/{name}: "
            f'serviceaccount "{name}" not found'
        )
        raise forbidden(POD, name_of(pod), why)


def _with_not_ready_taint(node: Object) -> Object:
    # So that no pod lands on a node before its network is up (NodeTaint admission plugin).
    taints = read_path(node, "spec.taints", [])
    if is_condition_true(node, "Ready") or any(taint.get("key") == NOT_READY for taint in taints):
        return node
    return replace_in(node, "spec.taints", [*taints, {"key": NOT_READY, "effect": "NoSchedule"}])
