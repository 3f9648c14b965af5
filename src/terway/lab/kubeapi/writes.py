"""What is stored when a client creates or changes an object? Pure: objects in, object out.

    decode ─► merge with what is held ─► defaults ─► validate ─► (state.py stores it)

Source: k8s.io/apiserver pkg/registry/rest create.go and update.go, and the kinds' strategies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from terway.lab.kubeapi import names
from terway.lab.kubeapi.customresources.objects import (
    check_custom,
    content_of,
    prune_custom,
)
from terway.lab.kubeapi.decoding import check_object, normalize
from terway.lab.kubeapi.defaults import with_defaults
from terway.lab.kubeapi.errors import ApiError, bad_request, conflict, invalid
from terway.lab.kubeapi.objects import Object, metadata, name_of
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import NODE, POD, SERVICE, ResourceDef
from terway.lab.kubeapi.services.inherit import inherit
from terway.lab.kubeapi.validation import validate, validate_update
from terway.lab.kubeapi.webhooks.reviews import Trial

# A status write leaves these as they are; pods and nodes alone may change labels and annotations.
_KEPT_ON_STATUS = ("finalizers", "ownerReferences", "labels", "annotations")
_SERVERS_OWN = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a client wants its write done.

    `warnings` collects what the client should read: it goes out as Warning headers. `user` is who
    writes, None for the cluster itself.
    """

    dry_run: bool = False
    field_manager: str = "unknown"
    field_validation: str = "Warn"  # or Strict, Ignore
    force: bool = False  # of a server-side apply
    user: Identity | None = None
    warnings: list[str] = field(default_factory=list)
    trial: Trial | None = None  # what webhooks said so far, None: nobody is asked


DEFAULT_OPTIONS = WriteOptions()


def decode(resource: ResourceDef, obj: Any, options: WriteOptions) -> Object:
    """Return the object with the fields its kind has. ApiError 400 where it does not fit."""
    if not isinstance(obj, dict):
        raise bad_request("the body of the request must be an object")
    stated = (obj.get("apiVersion", resource.api_version), obj.get("kind", resource.kind))
    if stated != (resource.api_version, resource.kind):
        raise bad_request(
            f"{stated[1]} in version {stated[0]} cannot be handled as a {resource.kind} "
            f"in version {resource.api_version}"
        )
    kind = resource.custom
    mismatches = list(check_custom(obj, kind) if kind else check_object(obj, resource.type))
    wrong = [held for held in mismatches if not held.is_unknown]
    if wrong:
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a '
            f"{resource.kind}: json: {wrong[0].message}"
        )
    unknown = [held.message for held in mismatches if held.is_unknown]
    if unknown and options.field_validation == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(unknown)}")
    if options.field_validation == "Warn":
        options.warnings.extend(unknown)
    if kind and kind.warning:
        options.warnings.append(kind.warning)
    pruned: Object = prune_custom(obj, kind) if kind else normalize(obj, resource.type)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **pruned}


def prepare_create(
    resource: ResourceDef, obj: Object, *, namespace: str, now: str, rng: Random
) -> Object:
    """Return a decoded object as it is to be stored. ApiError 400 or 422 says why not."""
    held = dict(metadata(obj))
    if held.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if resource.namespaced:
        if held.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        held["namespace"] = namespace
    else:
        held.pop("namespace", None)
    if not held.get("name") and held.get("generateName"):
        held["name"] = names.generate_name(held["generateName"], rng)
    for name in _SERVERS_OWN:
        held.pop(name, None)
    held |= {"uid": names.new_uid(rng), "creationTimestamp": now}
    if resource.has_generation:
        held["generation"] = 1
    obj = {**obj, "metadata": _without_empties(held)}
    if resource.has_status and not resource.keeps_status_on_create:
        obj.pop("status", None)
    return checked(resource, obj)


def checked(resource: ResourceDef, obj: Object, *, old: Object | None = None) -> Object:
    """Return the object with its defaults. ApiError 422 where its kind does not allow it.

    What has not changed since the `old` state of a custom object may be wrong.
    """
    if not metadata(obj).get("name"):
        causes = validate(resource, obj)
        raise invalid(resource, "", causes)
    obj = with_defaults(resource, obj)
    if causes := validate(resource, obj, old=old):
        raise invalid(resource, name_of(obj), causes)
    return obj


def check_version(resource: ResourceDef, old: Object, new: Object) -> None:
    """Raise ApiError 409 when `new` was made from another version, or is another object."""
    wanted, held = metadata(new), metadata(old)
    if wanted.get("uid", held["uid"]) != held["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {wanted['uid']}, "
            f"UID in object meta: {held['uid']}"
        )
        raise conflict(resource, held["name"], why)
    version = wanted.get("resourceVersion") or held["resourceVersion"]
    if version != held["resourceVersion"]:
        raise conflict(resource, held["name"])


def prepare_update(
    resource: ResourceDef, old: Object, new: Object, *, subresource: str = ""
) -> Object:
    """Return `new` as it is to be stored in place of `old`. ApiError 409 or 422 says why not."""
    _check_name(resource, old, new)
    check_version(resource, old, new)
    merged = {**new, "metadata": _merged_metadata(resource, old, new, subresource)}
    if subresource == "status":
        merged = {**old, "metadata": merged["metadata"], "status": new.get("status") or {}}
        if resource.custom:  # a built-in status is whatever its writers make it
            merged = checked(resource, merged, old=old)
        return _same_if_equal(old, merged)
    if resource.has_status:
        merged.pop("status", None)
        if "status" in old:
            merged["status"] = old["status"]
    if resource is SERVICE:
        merged = inherit(old, with_defaults(resource, merged))
    merged = checked(resource, merged, old=old)
    if causes := validate_update(resource, old, merged):
        raise invalid(resource, name_of(old), causes)
    if resource.has_generation and _content(resource, merged) != _content(resource, old):
        merged["metadata"]["generation"] = metadata(old).get("generation", 1) + 1
    return _same_if_equal(old, merged)


def _content(resource: ResourceDef, obj: Object) -> Any:
    """Return what metadata.generation counts the changes of."""
    if resource.custom:
        return content_of(obj, has_status=resource.has_status)
    return obj.get("spec")


def _check_name(resource: ResourceDef, old: Object, new: Object) -> None:
    stated = metadata(new).get("name", name_of(old))
    if stated != name_of(old):
        raise bad_request(
            f"the name of the object ({stated}) does not match the name on the URL ({name_of(old)})"
        )
    namespace = metadata(old).get("namespace", "")
    if metadata(new).get("namespace", namespace) != namespace:
        text = "the namespace of the object does not match the namespace on the request"
        raise ApiError(400, "BadRequest", text)


def _merged_metadata(
    resource: ResourceDef, old: Object, new: Object, subresource: str
) -> dict[str, Any]:
    held = metadata(old)
    merged = {**metadata(new), "name": held["name"]}
    kept = list(_SERVERS_OWN)
    if resource.namespaced:
        kept.append("namespace")
    if subresource == "status":
        kept += _KEPT_ON_STATUS[: 2 if resource in (POD, NODE) else None]
    for name in kept:
        merged.pop(name, None)
        if name in held:
            merged[name] = held[name]
    return _without_empties(merged)


def _without_empties(held: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if value not in (None, {}, [])}


def _same_if_equal(old: Object, new: Object) -> Object:
    # A write that changes nothing makes no revision and no event, as in the real server.
    return old if old == new else new
