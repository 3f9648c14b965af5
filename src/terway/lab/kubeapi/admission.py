"""What does the server add to, or refuse of, a new object, given the rest of the cluster?"""

from __future__ import annotations

from ipaddress import ip_network

from terway.lab.kubeapi.defaults import NOT_READY
from terway.lab.kubeapi.errors import ApiError, Cause, forbidden, invalid, not_found
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
from terway.lab.kubeapi.store import Key, Store


def admit(store: Store, resource: ResourceDef, obj: Object, *, service_cidr: str) -> Object:
    """Return the object as admitted. ApiError 403 or 404 when its namespace is no place for it."""
    if resource.namespaced:
        _check_namespace(store, resource, obj)
    if resource is NODE:
        return _with_not_ready_taint(obj)
    if resource is SERVICE:
        return _with_cluster_ip(store, obj, service_cidr)
    return obj


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


def _with_cluster_ip(store: Store, service: Object, cidr: str) -> Object:
    spec = service["spec"]
    if spec["type"] == "ExternalName" or spec.get("clusterIP") == "None":
        return service
    taken = {read_path(held.object, "spec.clusterIP") for held in store.items(SERVICE)}
    wanted = spec.get("clusterIP")
    if wanted in taken and wanted:
        message = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: already allocated'
        cause = Cause(field="spec.clusterIPs", reason="FieldValueInvalid", message=message)
        raise invalid(SERVICE, name_of(service), (cause,))
    address = wanted or next(
        (str(ip) for ip in ip_network(cidr).hosts() if str(ip) not in taken), ""
    )
    if not address:
        raise ApiError(500, "InternalError", f"service range {cidr} is full")
    filled = {
        **spec,
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv6" if ":" in address else "IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    return {**service, "spec": filled}
