"""What does a DELETE do to an object: is it gone, or does it wait for somebody?

delete ──► pod on a node, grace > 0 ──► marked; the kubelet deletes again with grace 0
       ──► finalizers left          ──► marked; gone with the last finalizer
       ──► a namespace              ──► marked; gone when it is empty
       ──► else                     ──► gone
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from terway.kube.clock import format_time
from terway.lab.kubeapi.errors import bad_request, conflict
from terway.lab.kubeapi.objects import (
    Object,
    is_pod_finished,
    metadata,
    name_of,
    read_path,
    replace_in,
    uid_of,
)
from terway.lab.kubeapi.resources import NAMESPACE, POD, ResourceDef
from terway.lab.kubeapi.webhooks.reviews import Trial

_DEFAULT_GRACE_S = 30
_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How a client wants an object deleted; see meta/v1 DeleteOptions."""

    grace_s: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = "Background"
    dry_run: bool = False
    trial: Trial | None = None  # what webhooks said so far, None: nobody is asked


DEFAULT_DELETE = DeleteOptions()


def parse_delete_options(body: dict[str, Any], query: dict[str, str]) -> DeleteOptions:
    """Return the options in a body and the query (the body wins). ApiError 400 for nonsense."""
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    preconditions = body.get("preconditions") or {}
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    if body.get("orphanDependents"):
        propagation = "Orphan"
    if propagation not in ("Background", *_FINALIZERS):
        raise bad_request(f'invalid propagationPolicy: "{propagation}"')
    try:
        grace_s = None if grace is None else int(grace)
    except ValueError as error:
        raise bad_request(f'invalid gracePeriodSeconds: "{grace}"') from error
    return DeleteOptions(
        grace_s=grace_s,
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        propagation=propagation,
        dry_run=bool(body.get("dryRun") or query.get("dryRun")),
    )


def check_preconditions(resource: ResourceDef, obj: Object, options: DeleteOptions) -> None:
    """Raise ApiError 409 when the object is not the one that was meant."""
    if options.uid and options.uid != uid_of(obj):
        why = (
            f"Precondition failed: UID in precondition: {options.uid}, "
            f"UID in object meta: {uid_of(obj)}"
        )
        raise conflict(resource, name_of(obj), why)
    if options.resource_version not in ("", metadata(obj)["resourceVersion"]):
        raise conflict(resource, name_of(obj))


def mark_deleted(
    resource: ResourceDef, obj: Object, options: DeleteOptions, *, now: float
) -> Object | None:
    """Return the object as it waits for its end, or None when it is gone at once."""
    grace_s = _grace_s(resource, obj, options)
    marked = obj
    if finalizer := _FINALIZERS.get(options.propagation):
        marked = _with_finalizer(marked, finalizer)
    if resource is NAMESPACE:
        marked = replace_in(marked, "status.phase", "Terminating")
    elif grace_s == 0 and not metadata(marked).get("finalizers"):
        return None
    held_s = metadata(obj).get("deletionGracePeriodSeconds")
    if held_s is None or grace_s < held_s:
        end = {"deletionTimestamp": format_time(now + grace_s)}
        end_and_grace = {**end, "deletionGracePeriodSeconds": grace_s}
        marked = {**marked, "metadata": {**metadata(marked), **end_and_grace}}
    return marked


def is_finished(resource: ResourceDef, obj: Object) -> bool:
    """Say whether nobody has to be waited for any more: the object can go."""
    held = metadata(obj)
    if not held.get("deletionTimestamp") or held.get("finalizers"):
        return False
    if resource is NAMESPACE:
        return not read_path(obj, "spec.finalizers", [])
    return not held.get("deletionGracePeriodSeconds")


def _grace_s(resource: ResourceDef, obj: Object, options: DeleteOptions) -> int:
    if resource is not POD:
        return 0
    if not read_path(obj, "spec.nodeName") or is_pod_finished(obj):
        return 0  # no kubelet has anything to stop
    if options.grace_s is not None:
        return max(options.grace_s, 0)
    return int(read_path(obj, "spec.terminationGracePeriodSeconds", _DEFAULT_GRACE_S))


def _with_finalizer(obj: Object, finalizer: str) -> Object:
    held = metadata(obj).get("finalizers") or []
    if finalizer in held:
        return obj
    return replace_in(obj, "metadata.finalizers", [*held, finalizer])
