"""The cluster in memory: every verb of the API, without HTTP.

All of it is synchronous, so a verb is atomic: nothing can come between reading an object and
writing it. The HTTP server, the scheduler, the controllers and the lab all write through here.
Time and randomness come in as parameters: the same requests in the same order give the same
cluster, names and uids included.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from terway.kube.clock import format_time
from terway.lab.kubeapi.admission import ServiceRoom, admit, admit_change
from terway.lab.kubeapi.customresources.registry import Definitions
from terway.lab.kubeapi.deletion import (
    DEFAULT_DELETE,
    DeleteOptions,
    check_preconditions,
    is_finished,
    mark_deleted,
)
from terway.lab.kubeapi.errors import already_exists, not_found
from terway.lab.kubeapi.listing import ListOptions, Page, list_page
from terway.lab.kubeapi.managed import Manager, apply_patch, track_update
from terway.lab.kubeapi.objects import Object, metadata, name_of
from terway.lab.kubeapi.patch import json_patch, merge_patch, strategic_patch
from terway.lab.kubeapi.rbac.authorizer import Authorizer
from terway.lab.kubeapi.rbac.escalation import check_escalation
from terway.lab.kubeapi.rbac.reviews import answer_review
from terway.lab.kubeapi.rbac.users import ADMIN
from terway.lab.kubeapi.resources import (
    CUSTOM_RESOURCE_DEFINITION,
    NAMESPACE,
    ResourceDef,
    ResourceTable,
)
from terway.lab.kubeapi.selectors import Predicate, everything
from terway.lab.kubeapi.serviceaddresses import read_service_ranges
from terway.lab.kubeapi.services.allocations import Allocations
from terway.lab.kubeapi.store import Key, Store, Stored, key_of
from terway.lab.kubeapi.tokens import Tokens
from terway.lab.kubeapi.webhooks.asking import (
    judge,
    judge_deletion,
    mutate_create,
    mutate_update,
)
from terway.lab.kubeapi.webhooks.sockets import WebhookDialer, dial_plainly
from terway.lab.kubeapi.writes import (
    DEFAULT_OPTIONS,
    WriteOptions,
    decode,
    prepare_create,
    prepare_update,
)

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
PATCH_TYPES = (JSON, MERGE, STRATEGIC, APPLY)
CUSTOM_PATCH_TYPES = (JSON, MERGE, APPLY)  # no Go type says how their lists merge


class ClusterState:
    """All objects of one cluster, and what can be done to them.

    `clock` gives seconds since the epoch; `service_cidr` is the range of services' addresses, or
    one of each family with a comma, of which the first is the cluster's own. `dial_webhook`
    makes the sockets by which webhooks are reached. Objects that come out are the store's own:
    read them, do not change them. Every method raises ApiError for what the API refuses.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        rng: Random,
        table: ResourceTable | None = None,
        history_limit: int = 10_000,
        service_cidr: str = "172.21.0.0/20",
        dial_webhook: WebhookDialer = dial_plainly,
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.dial_webhook = dial_webhook
        self.table = table or ResourceTable()
        self.store = Store(history_limit=history_limit)
        self._definitions = Definitions(self.store, self.table)
        self.authorizer = Authorizer(self.store)
        self.tokens = Tokens(store=self.store, clock=clock, key=secrets.token_bytes(32))
        self._services = ServiceRoom(
            ranges=read_service_ranges(service_cidr), taken=Allocations(self.store)
        )

    def now_text(self) -> str:
        """Return the time as objects have it."""
        return format_time(self.clock())

    def find(self, resource: ResourceDef, name: str, namespace: str = "") -> Object | None:
        """Return one object, or None."""
        stored = self.store.get(resource, Key(namespace, name))
        return stored.object if stored else None

    def get(self, resource: ResourceDef, name: str, namespace: str = "") -> Stored:
        """Return one object. ApiError 404 where there is none."""
        stored = self.store.get(resource, Key(namespace, name))
        if stored is None:
            raise not_found(resource, name)
        return stored

    def list(
        self, resource: ResourceDef, namespace: str = "", matches: Predicate = everything
    ) -> list[Object]:
        """Return the objects of a kind as they are now, ordered by namespace and name."""
        found = [held.object for held in self.store.items(resource, namespace)]
        return sorted((obj for obj in found if matches(obj)), key=key_of)

    def page(self, resource: ResourceDef, options: ListOptions) -> Page:
        """Return one page of a collection."""
        return list_page(self.store, resource, options)

    def create(
        self,
        resource: ResourceDef,
        obj: Mapping[str, Any],
        namespace: str = "",
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> Stored:
        """Create an object. ApiError 409 when the name is taken, 422 when it breaks a rule."""
        namespace = namespace or (metadata(obj).get("namespace", "") if resource.namespaced else "")
        return self._create(resource, decode(resource, obj, options), namespace, options)

    def _create(
        self, resource: ResourceDef, wanted: Object, namespace: str, options: WriteOptions
    ) -> Stored:
        trial = options.trial
        if trial is not None and resource.namespaced:
            self.get(NAMESPACE, namespace)  # nobody is asked about a place that is not there
        mutated = mutate_create(resource, wanted, namespace, options)
        prepared = prepare_create(
            resource,
            mutated,
            namespace=namespace,
            now=trial.now if trial else self.now_text(),
            rng=trial.rng() if trial else self.rng,
        )
        judge(resource, None, prepared, options)
        return self._insert(resource, prepared, options)

    def _insert(self, resource: ResourceDef, prepared: Object, options: WriteOptions) -> Stored:
        if self.store.get(resource, key_of(prepared)) is not None:
            raise already_exists(resource, name_of(prepared))
        self._check_escalation(resource, prepared, options)
        admitted = admit(self.store, resource, prepared, services=self._services)
        if resource is CUSTOM_RESOURCE_DEFINITION:
            admitted = self._definitions.accept(admitted, now=self.now_text())
        if options.dry_run:
            return Stored(admitted)
        return self.store.put(resource, admitted)

    def _check_escalation(self, resource: ResourceDef, obj: Object, options: WriteOptions) -> None:
        if options.user is not None:
            check_escalation(self.store, self.authorizer, options.user, resource, obj)

    def answer(
        self,
        resource: ResourceDef,
        review: Mapping[str, Any],
        namespace: str = "",
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> Stored:
        """Answer a question that is asked as an object: a review. Nothing is stored."""
        return Stored(
            answer_review(
                self.authorizer,
                self.tokens,
                resource,
                decode(resource, review, options),
                asker=options.user or ADMIN,
                namespace=namespace,
            )
        )

    def update(
        self,
        resource: ResourceDef,
        name: str,
        namespace: str,
        obj: Mapping[str, Any],
        *,
        subresource: str = "",
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> Stored:
        """Replace an object, or one subresource of it. ApiError 409 when it has changed since."""
        held = self.get(resource, name, namespace)
        return self._replace(
            resource, held, decode(resource, obj, options), subresource=subresource, options=options
        )

    def patch(
        self,
        resource: ResourceDef,
        name: str,
        namespace: str,
        patch: Any,
        *,
        kind: str = MERGE,
        subresource: str = "",
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> Stored:
        """Change an object as `patch`, of media type `kind`, says. An apply may create it."""
        if kind == APPLY:
            key = Key(namespace, name)
            return self._apply(resource, key, patch, subresource=subresource, options=options)
        held = self.get(resource, name, namespace)
        match kind:
            case "application/json-patch+json":
                changed = json_patch(held.object, patch)
            case "application/strategic-merge-patch+json":
                changed = strategic_patch(held.object, patch, resource.type)
            case _:
                changed = merge_patch(held.object, patch)
        decoded = decode(resource, changed, options)
        return self._replace(resource, held, decoded, subresource=subresource, options=options)

    def _apply(
        self,
        resource: ResourceDef,
        key: Key,
        applied: Any,
        *,
        subresource: str,
        options: WriteOptions,
    ) -> Stored:
        wanted = decode(resource, applied, options)
        manager = Manager(name=options.field_manager, is_apply=True, subresource=subresource)
        type_ = resource.type
        held = self.store.get(resource, key)
        live = held.object if held else {**wanted, "metadata": {"name": key.name}}
        now = options.trial.now if options.trial else self.now_text()
        merged = apply_patch(live, wanted, type_, manager, force=options.force, now=now)
        if held is not None:
            return self._replace(
                resource, held, merged, subresource=subresource, options=options, tracked=True
            )
        if subresource:
            raise not_found(resource, key.name)
        return self._create(resource, merged, key.namespace, options)

    def _replace(
        self,
        resource: ResourceDef,
        held: Stored,
        changed: Object,
        *,
        subresource: str,
        options: WriteOptions,
        tracked: bool = False,
    ) -> Stored:
        changed = mutate_update(resource, held.object, changed, subresource, options)
        new = prepare_update(resource, held.object, changed, subresource=subresource)
        judge(resource, held.object, new, options, subresource=subresource)
        if not subresource:
            new = admit_change(resource, held.object, new, services=self._services)
            if resource is CUSTOM_RESOURCE_DEFINITION:
                new = self._definitions.accept(new, now=self.now_text())
            self._check_escalation(resource, new, options)
        if new == held.object:
            return held
        if not tracked:
            manager = Manager(name=options.field_manager, subresource=subresource)
            new = track_update(held.object, new, resource.type, manager, now=self.now_text())
        if options.dry_run:
            return Stored(new)
        return self._settle(resource, new)

    def _settle(self, resource: ResourceDef, obj: Object) -> Stored:
        stored = self.store.put(resource, obj)
        if is_finished(resource, obj):
            return self.store.remove(resource, key_of(obj))
        return stored

    def delete(
        self,
        resource: ResourceDef,
        name: str,
        namespace: str = "",
        options: DeleteOptions = DEFAULT_DELETE,
    ) -> Stored | None:
        """Delete an object; return it as it waits for its end, None when it is gone.

        ApiError 404 where there is none.
        """
        held = self.get(resource, name, namespace)
        check_preconditions(resource, held.object, options)
        judge_deletion(resource, held.object, options)
        marked = mark_deleted(resource, held.object, options, now=self.clock())
        if options.dry_run:
            return None if marked is None else Stored(marked)
        if marked is None:
            self.store.remove(resource, key_of(held.object))
            return None
        return held if marked == held.object else self._settle(resource, marked)
