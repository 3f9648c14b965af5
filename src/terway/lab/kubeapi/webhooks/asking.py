"""Where in a verb are the webhooks asked, and about what? Nothing happens without a trial.

As in the real server: mutating ones see the object with its defaults but without what the server
makes up (uid, generated name), validating ones see what is about to be stored.
"""

from __future__ import annotations

from terway.lab.kubeapi.defaults import with_defaults
from terway.lab.kubeapi.deletion import DeleteOptions
from terway.lab.kubeapi.objects import Object, metadata, name_of, namespace_of
from terway.lab.kubeapi.resources import ResourceDef
from terway.lab.kubeapi.webhooks.reviews import Phase, Review
from terway.lab.kubeapi.writes import WriteOptions, decode

_QUIET = WriteOptions(field_validation="Ignore")
_KEPT = ("uid", "creationTimestamp", "generation", "resourceVersion")


def mutate_create(
    resource: ResourceDef, obj: Object, namespace: str, options: WriteOptions
) -> Object:
    """Return a new object as the mutating webhooks want it."""
    if options.trial is None:
        return obj
    placed = {"namespace": namespace} if resource.namespaced else {}
    shown = with_defaults(resource, {**obj, "metadata": {**metadata(obj), **placed}})
    return _mutate(resource, None, shown, options)


def mutate_update(
    resource: ResourceDef, old: Object, new: Object, subresource: str, options: WriteOptions
) -> Object:
    """Return a changed object as the mutating webhooks want it."""
    if options.trial is None:
        return new
    held = metadata(old)
    named = {field: held[field] for field in ("name", "namespace", *_KEPT) if field in held}
    shown = with_defaults(resource, {**new, "metadata": {**named, **metadata(new)}})
    return _mutate(resource, old, shown, options, subresource=subresource)


def _mutate(
    resource: ResourceDef,
    old: Object | None,
    new: Object,
    options: WriteOptions,
    *,
    subresource: str = "",
) -> Object:
    answer = _ask(Phase.MUTATE, resource, old, new, options=options, subresource=subresource)
    return new if answer == new else decode(resource, answer, _QUIET)


def judge(
    resource: ResourceDef,
    old: Object | None,
    new: Object,
    options: WriteOptions,
    *,
    subresource: str = "",
) -> None:
    """Let the validating webhooks see what is about to be stored."""
    _ask(Phase.VALIDATE, resource, old, new, options=options, subresource=subresource)


def judge_deletion(resource: ResourceDef, old: Object, options: DeleteOptions) -> None:
    """Let all webhooks see what is about to be deleted; none can change anything."""
    for phase in Phase:
        _ask(phase, resource, old, None, options=options)


def _ask(
    phase: Phase,
    resource: ResourceDef,
    old: Object | None,
    new: Object | None,
    *,
    options: WriteOptions | DeleteOptions,
    subresource: str = "",
) -> Object | None:
    if options.trial is None:
        return new
    about = new or old or {}
    return options.trial.ask(
        Review(
            phase=phase,
            operation=_operation(old, new),
            resource=resource,
            namespace=namespace_of(about),
            name=name_of(about),
            subresource=subresource,
            object=new,
            old=old,
            dry_run=options.dry_run,
        )
    )


def _operation(old: Object | None, new: Object | None) -> str:
    if old is None:
        return "CREATE"
    return "DELETE" if new is None else "UPDATE"
