"""What can a controller want done? A few kinds of writes, applied in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.names import hash_of
from terway.lab.kubeapi.objects import Object, metadata, name_of, namespace_of, read_path, uid_of
from terway.lab.kubeapi.rbac.users import service_account
from terway.lab.kubeapi.resources import EVENT, ResourceDef
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.subresources import bind
from terway.lab.kubeapi.webhooks.admission import write_reviewed
from terway.lab.kubeapi.webhooks.reviews import Trial
from terway.lab.kubeapi.writes import WriteOptions

_INVALID = 422
_OPTIONS = WriteOptions(field_manager="kube-controller-manager")


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create an object in its own namespace, and tell so; `{name}` in the message is its name."""

    resource: ResourceDef
    object: Object
    tell: Tell | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Merge `patch` into this version of an object; nothing if it has changed since."""

    resource: ResourceDef
    object: Object
    patch: Mapping[str, Any]
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete this very object."""

    resource: ResourceDef
    object: Object
    grace_s: int | None = None
    propagation: str = "Background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Give a pod to a node."""

    pod: Object
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Record an event about an object; repeats raise its count."""

    resource: ResourceDef
    object: Object
    reason: str
    message: str
    component: str
    type: str = "Normal"


Action = Create | Patch | Delete | Bind | Tell


def status_patch(resource: ResourceDef, obj: Object, status: Object) -> Patch:
    """Return the patch that makes `status` the object's whole status."""
    gone: Object = {field: None for field in obj.get("status") or () if field not in status}
    patch = {"status": {**gone, **status}}
    return Patch(resource=resource, object=obj, patch=patch, subresource="status")


def apply(state: ClusterState, action: Action) -> None:
    """Carry out an action. What the API refuses is dropped, or told if the action tells.

    Most refusals mean that the world has moved on, which the next plan will see.
    """
    try:
        _apply(state, action)
    except ApiError as error:
        if isinstance(action, Create) and action.tell is not None and error.code == _INVALID:
            _tell_failure(state, action.tell, error)


async def apply_reviewed(state: ClusterState, action: Action) -> bool:
    """Carry out an action as the webhooks let it; say whether it went well.

    A refusal to create is told, if the action tells.
    """
    component = action.tell.component if isinstance(action, Create) and action.tell else ""
    user = service_account("kube-system", component or "generic-garbage-collector")
    try:
        await write_reviewed(state, lambda trial: _apply(state, action, trial), user=user)
    except ApiError as error:
        if isinstance(action, Create) and action.tell is not None:
            _tell_failure(state, action.tell, error)
        return False
    return True


def written_by(action: Action) -> tuple[ResourceDef, str, str] | None:
    """Return resource, operation and subresource of an action that webhooks may want to see.

    Events and bindings are the server's own affair here.
    """
    match action:
        case Create(resource=resource):
            return (resource, "CREATE", "")
        case Patch(resource=resource, subresource=subresource):
            return (resource, "UPDATE", subresource)
        case Delete(resource=resource):
            return (resource, "DELETE", "")
        case Bind() | Tell():
            return None
        case _:
            assert_never(action)


def _tell_failure(state: ClusterState, tell: Tell, error: ApiError) -> None:
    message = f"Error creating: {error.message}"
    _tell(state, replace(tell, type="Warning", reason="FailedCreate", message=message))


def _apply(state: ClusterState, action: Action, trial: Trial | None = None) -> None:
    written = replace(_OPTIONS, trial=trial)
    match action:
        case Create(resource=resource, object=obj, tell=tell):
            created = state.create(resource, obj, options=written).object
            if tell is not None:
                _tell(state, replace(tell, message=tell.message.format(name=name_of(created))))
        case Patch(resource=resource, object=obj, patch=patch, subresource=subresource):
            state.patch(
                resource,
                name_of(obj),
                namespace_of(obj),
                _guarded(obj, patch),
                subresource=subresource,
                options=written,
            )
        case Delete(resource=resource, object=obj):
            options = DeleteOptions(
                grace_s=action.grace_s,
                uid=uid_of(obj),
                propagation=action.propagation,
                trial=trial,
            )
            state.delete(resource, name_of(obj), namespace_of(obj), options)
        case Bind(pod=pod, node=node):
            bind(state, name_of(pod), namespace_of(pod), node, options=_OPTIONS)
        case Tell():
            _tell(state, action)
        case _:
            assert_never(action)


def _guarded(obj: Object, patch: Mapping[str, Any]) -> dict[str, Any]:
    version = {"resourceVersion": metadata(obj)["resourceVersion"], "uid": uid_of(obj)}
    return {**patch, "metadata": {**(patch.get("metadata") or {}), **version}}


def _tell(state: ClusterState, action: Tell) -> None:
    namespace = namespace_of(action.object) or "default"
    fact = [uid_of(action.object), action.reason, action.message, action.component]
    name = f"{name_of(action.object)}.{hash_of(fact)}"
    now = state.now_text()
    if held := state.find(EVENT, name, namespace):
        patch = {"count": read_path(held, "count", 1) + 1, "lastTimestamp": now}
        state.patch(EVENT, name, namespace, patch, options=_OPTIONS)
        return
    event: Object = {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": action.resource.api_version,
            "kind": action.resource.kind,
            "name": name_of(action.object),
            "namespace": namespace_of(action.object),
            "uid": uid_of(action.object),
        },
        "type": action.type,
        "reason": action.reason,
        "message": action.message,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": action.component},
        "reportingComponent": action.component,
    }
    state.create(EVENT, event, namespace, _OPTIONS)
