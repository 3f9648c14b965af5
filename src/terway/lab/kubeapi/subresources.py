"""What are a pod's binding and eviction, and a workload's scale?"""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.deletion import parse_delete_options
from terway.lab.kubeapi.errors import bad_request, conflict, method_not_allowed
from terway.lab.kubeapi.gates import is_gated
from terway.lab.kubeapi.objects import Object, read_path, replace_in, with_condition
from terway.lab.kubeapi.patch import json_patch, merge_patch
from terway.lab.kubeapi.requests import ApiRequest
from terway.lab.kubeapi.resources import POD
from terway.lab.kubeapi.scale import scale_of, with_scale
from terway.lab.kubeapi.state import JSON, ClusterState
from terway.lab.kubeapi.store import Stored
from terway.lab.kubeapi.writes import WriteOptions

_SUCCESS: Object = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


def read_subresource(state: ClusterState, request: ApiRequest) -> Stored:
    """Return an object, or its scale. ApiError 405 for a subresource that cannot be read."""
    stored = state.get(request.resource, request.name, request.namespace)
    match request.subresource:
        case "" | "status":
            return stored
        case "scale":
            return Stored(scale_of(request.resource, stored.object))
        case _:
            raise method_not_allowed()


def write_subresource(
    state: ClusterState,
    request: ApiRequest,
    decoded: Any,
    *,
    media_type: str,
    options: WriteOptions,
) -> Stored:
    """Carry out a write to a subresource that is an object of its own."""
    match request.subresource, request.verb:
        case "scale", "update" | "patch":
            return _write_scale(state, request, decoded, media_type=media_type, options=options)
        case "binding", "create":
            node = read_path(decoded, "target.name", "")
            bind(state, request.name, request.namespace, node, options=options)
            return Stored(_SUCCESS)
        case "token", "create":
            account = state.get(request.resource, request.name, request.namespace).object
            return Stored(state.tokens.issue(account, decoded))
        case "eviction", "create":
            return evict(state, request.name, request.namespace, decoded)
        case _:
            raise method_not_allowed()


def _write_scale(
    state: ClusterState,
    request: ApiRequest,
    decoded: Any,
    *,
    media_type: str,
    options: WriteOptions,
) -> Stored:
    workload = state.get(request.resource, request.name, request.namespace).object
    scale = decoded
    if request.verb == "patch":
        change = json_patch if media_type == JSON else merge_patch
        scale = change(scale_of(request.resource, workload), decoded)
    changed = with_scale(request.resource, workload, scale)
    stored = state.update(
        request.resource, request.name, request.namespace, changed, options=options
    )
    return Stored(scale_of(request.resource, stored.object))


def bind(
    state: ClusterState,
    name: str,
    namespace: str,
    node: str,
    *,
    options: WriteOptions,
) -> None:
    """Give a pod to a node, once and for all. ApiError 409 when it has one."""
    pod = state.get(POD, name, namespace).object
    if not node:
        raise bad_request("target.name of a Binding is required")
    if is_gated(pod):
        raise conflict(POD, name, f"pod {name} has non-empty .spec.schedulingGates")
    if held := read_path(pod, "spec.nodeName"):
        raise conflict(POD, name, f'pod {name} is already assigned to node "{held}"')
    conditions = with_condition(
        read_path(pod, "status.conditions", []),
        {"type": "PodScheduled", "status": "True"},
        now=state.now_text(),
    )
    bound = replace_in(replace_in(pod, "spec.nodeName", node), "status.conditions", conditions)
    if not options.dry_run:
        state.store.put(POD, bound)


def evict(state: ClusterState, name: str, namespace: str, decoded: Any) -> Stored:
    """Delete a pod as an Eviction asks."""
    options = parse_delete_options(read_path(decoded, "deleteOptions", {}), {})
    state.delete(POD, name, namespace, options)
    return Stored(_SUCCESS)
