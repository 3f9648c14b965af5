"""Which webhooks want to see a review? The configurations in the store, read into values.

Source: Kubernetes docs "Dynamic Admission Control"; k8s.io/apiserver
pkg/admission/plugin/webhook/generic and predicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.kubeapi.objects import Object, labels_of, name_of
from terway.lab.kubeapi.resources import (
    MUTATING_WEBHOOKS,
    NAMESPACE,
    VALIDATING_WEBHOOKS,
    ResourceDef,
    ResourceTable,
)
from terway.lab.kubeapi.selectors import label_selector
from terway.lab.kubeapi.store import Key, Store
from terway.lab.kubeapi.webhooks.reviews import Phase, Review

_KIND = {Phase.MUTATE: MUTATING_WEBHOOKS, Phase.VALIDATE: VALIDATING_WEBHOOKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One webhook of a configuration, as the configuration has it with its defaults."""

    configuration: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the name that messages use."""
        return str(self.spec["name"])

    @property
    def is_ignorable(self) -> bool:
        """Say whether the write goes on when the webhook cannot be asked."""
        return bool(self.spec["failurePolicy"] == "Ignore")

    @property
    def can_run_again(self) -> bool:
        """Say whether it wants to see what others changed after it."""
        return bool(self.spec.get("reinvocationPolicy") == "IfNeeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A webhook that is to be asked, with the version of the kind that its rule names."""

    hook: Hook
    resource: ResourceDef


def hooks_of(store: Store, phase: Phase) -> Iterator[Hook]:
    """Yield all webhooks in the order in which they are called: by configuration, as listed."""
    found = [held.object for held in store.items(_KIND[phase])]
    for configuration in sorted(found, key=name_of):
        for spec in configuration.get("webhooks") or ():
            yield Hook(configuration=name_of(configuration), spec=spec)


def has_hooks(store: Store) -> bool:
    """Say whether there is any webhook at all."""
    return any(True for phase in Phase for _ in hooks_of(store, phase))


def has_hooks_for(
    store: Store, table: ResourceTable, resource: ResourceDef, operation: str, subresource: str = ""
) -> bool:
    """Say whether some webhook's rules name such a write, whatever its selectors say."""
    return any(
        _version(hook, table, resource, operation, subresource) is not None
        for phase in Phase
        for hook in hooks_of(store, phase)
    )


def matches_of(store: Store, table: ResourceTable, review: Review) -> Iterator[Match]:
    """Yield the webhooks that are to be asked, in their order."""
    if review.resource in _KIND.values():
        return  # no webhook may keep somebody from repairing the webhooks
    for hook in hooks_of(store, review.phase):
        found = _version(hook, table, review.resource, review.operation, review.subresource)
        if found and _is_selected(store, hook, review):
            yield Match(hook=hook, resource=found)


def _version(
    hook: Hook, table: ResourceTable, resource: ResourceDef, operation: str, subresource: str
) -> ResourceDef | None:
    """Return the version of the kind that a rule of the hook names, None where none does."""
    versions = [resource]
    if hook.spec["matchPolicy"] == "Equivalent":
        versions += [row for row in table.rows if row.home is resource.home]
    for row in versions:
        for rule in hook.spec.get("rules") or ():
            if _names(rule, row, operation, subresource):
                return row
    return None


def _names(
    rule: Mapping[str, Any], resource: ResourceDef, operation: str, subresource: str
) -> bool:
    scopes = ("*", "Namespaced" if resource.namespaced else "Cluster")
    return (
        _has(rule.get("operations"), operation)
        and _has(rule.get("apiGroups"), resource.group)
        and _has(rule.get("apiVersions"), resource.version)
        and rule.get("scope", "*") in scopes
        and any(
            _names_resource(text, resource.plural, subresource)
            for text in rule.get("resources") or ()
        )
    )


def _has(listed: Any, wanted: str) -> bool:
    return wanted in (listed or ()) or "*" in (listed or ())


def _names_resource(text: str, plural: str, subresource: str) -> bool:
    """Say whether ``pods``, ``pods/status``, ``*/status``, ``pods/*``, ``*`` names it."""
    resource, slash, sub = text.partition("/")
    if resource not in ("*", plural):
        return False
    return sub in ("*", subresource) if slash else not subresource


def _is_selected(store: Store, hook: Hook, review: Review) -> bool:
    of_namespace = label_selector(hook.spec["namespaceSelector"])
    of_object = label_selector(hook.spec["objectSelector"])
    labels = _namespace_labels(store, review)
    if labels is not None and not of_namespace(labels):
        return False
    held = [one for one in (review.object, review.old) if one is not None]
    return any(of_object(labels_of(one)) for one in held)


def _namespace_labels(store: Store, review: Review) -> Mapping[str, str] | None:
    """Return the labels of the namespace that the object is in, or is; None for a cluster's."""
    if review.resource is NAMESPACE:
        about: Object = review.object or review.old or {}
        return labels_of(about)
    if not review.resource.namespaced:
        return None
    held = store.get(NAMESPACE, Key("", review.namespace))
    return labels_of(held.object) if held else {}
