"""How is a verb of the API carried out for an HTTP request?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from terway.lab.kubeapi.answers import deleted_status, json_answer, list_body
from terway.lab.kubeapi.deletion import DeleteOptions, parse_delete_options
from terway.lab.kubeapi.errors import bad_request, unsupported_media_type
from terway.lab.kubeapi.listing import ListOptions, Page, parse_limit
from terway.lab.kubeapi.negotiation import Form, choose_form, decode_body
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.requests import ApiRequest
from terway.lab.kubeapi.selectors import parse_selector
from terway.lab.kubeapi.state import APPLY, CUSTOM_PATCH_TYPES, PATCH_TYPES, ClusterState
from terway.lab.kubeapi.store import Key, Stored
from terway.lab.kubeapi.subresources import read_subresource, write_subresource
from terway.lab.kubeapi.tables import make_table
from terway.lab.kubeapi.webhooks.admission import write_reviewed
from terway.lab.kubeapi.webhooks.reviews import Trial
from terway.lab.kubeapi.writes import WriteOptions


async def answer_verb(state: ClusterState, http: web.Request, request: ApiRequest) -> web.Response:
    """Carry out a request that has one answer. ApiError for what is refused."""
    form = choose_form(http.headers.get("Accept", ""))
    body = await http.read()
    match request.verb:
        case "list":
            return _list(state, http, request, form)
        case "get":
            stored = read_subresource(state, request)
            return _object(state, http, request, stored, form)
        case "delete" | "deletecollection":
            content_type = http.content_type if body else ""
            options = parse_delete_options(decode_body(body, content_type), dict(http.query))
            return await _delete(state, http, request, options)
        case _:
            return await _write(state, http, request, body, form)


def list_options(http: web.Request, request: ApiRequest) -> ListOptions:
    """Return what part of the collection the query asks for."""
    query = http.query
    return ListOptions(
        namespace=request.namespace,
        matches=parse_selector(
            request.resource,
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
        ),
        limit=parse_limit(query),
        continue_=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        version_match=query.get("resourceVersionMatch", ""),
    )


def _list(state: ClusterState, http: web.Request, request: ApiRequest, form: Form) -> web.Response:
    options = list_options(http, request)
    page = state.page(request.resource, options)
    meta = _page_metadata(page)
    if form.table_version:
        objects = [held.object for held in page.items]
        table = table_of(state, http, request, objects, form=form, meta=meta)
        return json_answer(table)
    if form.partial_version:
        return json_answer(_partial_list(page, meta, form.partial_version))
    return json_answer(list_body(request.resource, page.items, meta))


def _page_metadata(page: Page) -> Object:
    meta: Object = {"resourceVersion": str(page.revision)}
    if page.continue_:
        meta |= {"continue": page.continue_, "remainingItemCount": page.remaining}
    return meta


def _partial(obj: Object, version: str) -> Object:
    api_version = f"meta.k8s.io/{version}"
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": obj["metadata"],
    }


def _partial_list(page: Page, meta: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "items": [_partial(held.object, version) for held in page.items],
    }


def table_of(
    state: ClusterState,
    http: web.Request,
    request: ApiRequest,
    objects: list[Object],
    *,
    form: Form,
    meta: Object,
) -> Object:
    """Return objects as the Table that was asked for."""
    return make_table(
        request.resource,
        objects,
        list_metadata=meta,
        now=state.clock(),
        version=form.table_version,
        include=http.query.get("includeObject", "Metadata"),
    )


def _object(
    state: ClusterState, http: web.Request, request: ApiRequest, stored: Stored, form: Form
) -> web.Response:
    obj = stored.object
    if form.table_version and obj.get("kind") == request.resource.kind:
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return json_answer(table_of(state, http, request, [obj], form=form, meta=meta))
    if form.partial_version:
        return json_answer(_partial(obj, form.partial_version))
    return json_answer(stored.json)


async def _delete(
    state: ClusterState, http: web.Request, request: ApiRequest, options: DeleteOptions
) -> web.Response:
    resource = request.resource

    async def delete(name: str, namespace: str) -> Stored | None:
        def write(trial: Trial | None) -> Stored | None:
            return state.delete(resource, name, namespace, replace(options, trial=trial))

        return await write_reviewed(state, write, user=request.user)

    if request.verb == "delete":
        before = state.get(resource, request.name, request.namespace).object
        left = await delete(request.name, request.namespace)
        return json_answer(deleted_status(resource, before) if left is None else left.json)
    page = state.page(resource, list_options(http, request))
    for held in page.items:
        meta = held.object["metadata"]
        await delete(meta["name"], meta.get("namespace", ""))
    return json_answer(list_body(resource, page.items, _page_metadata(page)))


def _write_options(http: web.Request, request: ApiRequest) -> WriteOptions:
    query = http.query
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'invalid dryRun: "{dry_run}": supported values: "All"')
    agent = http.headers.get("User-Agent", "").partition("/")[0]
    return WriteOptions(
        dry_run=bool(dry_run),
        field_manager=query.get("fieldManager") or agent or "unknown",
        field_validation=query.get("fieldValidation") or "Warn",
        force=query.get("force") in ("true", "1"),
        user=request.user,
    )


async def _write(
    state: ClusterState, http: web.Request, request: ApiRequest, body: bytes, form: Form
) -> web.Response:
    options = _write_options(http, request)
    media_type = http.headers.get("Content-Type", "").partition(";")[0].strip()
    if request.verb == "patch":
        accepted = CUSTOM_PATCH_TYPES if request.resource.custom else PATCH_TYPES
        if media_type not in accepted:
            raise unsupported_media_type(accepted)
        if media_type == APPLY and not http.query.get("fieldManager"):
            raise bad_request("PatchOptions.fieldManager is required for apply patch")
    decoded = decode_body(body, media_type)
    key = Key(request.namespace, request.name)
    is_new = request.verb == "create" or state.store.get(request.resource, key) is None

    def write(trial: Trial | None) -> Stored:
        tried = replace(options, trial=trial)
        return _carry_out(state, request, decoded, media_type=media_type, options=tried)

    stored = await write_reviewed(state, write, user=request.user, warnings=options.warnings)
    options.warnings[:] = dict.fromkeys(options.warnings)  # of each attempt the same
    status = 201 if is_new else 200
    if form.table_version and stored.object.get("kind") == request.resource.kind:
        meta = {"resourceVersion": stored.object["metadata"].get("resourceVersion", "")}
        table = table_of(state, http, request, [stored.object], form=form, meta=meta)
        return json_answer(table, status=status, warnings=options.warnings)
    return json_answer(stored.json, status=status, warnings=options.warnings)


def _carry_out(
    state: ClusterState,
    request: ApiRequest,
    decoded: Any,
    *,
    media_type: str,
    options: WriteOptions,
) -> Stored:
    resource, name, namespace = request.resource, request.name, request.namespace
    if resource.is_question:
        return state.answer(resource, decoded, namespace, options)
    if request.subresource not in ("", "status", "finalize"):
        # What binds, evicts or scales is an object of its own, which no webhook of ours looks at.
        alone = replace(options, trial=None)
        return write_subresource(state, request, decoded, media_type=media_type, options=alone)
    subresource = "status" if request.subresource == "status" else ""
    match request.verb:
        case "create":
            return state.create(resource, decoded, namespace, options)
        case "update":
            return state.update(
                resource, name, namespace, decoded, subresource=subresource, options=options
            )
        case _:
            return state.patch(
                resource,
                name,
                namespace,
                decoded,
                kind=media_type,
                subresource=subresource,
                options=options,
            )
