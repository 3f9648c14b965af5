"""How does an answer go out? Objects, lists and refusals as HTTP responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef
from terway.lab.kubeapi.store import Stored


def json_answer(body: Any, *, status: int = 200, warnings: Sequence[str] = ()) -> web.Response:
    """Return any JSON value, bytes being JSON already, with warnings for the user to read."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    answer = web.Response(body=raw, status=status, content_type="application/json")
    for warning in warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.add("Warning", f'299 - "{text}"')  # RFC 7234, as kubectl prints them
    return answer


def refuse(error: ApiError) -> web.Response:
    """Return a refusal as a Status object."""
    answer = json_answer(error.status(), status=error.code)
    if error.retry_after_s:
        answer.headers["Retry-After"] = str(error.retry_after_s)
    if error.code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="kubernetes"'
    return answer


def list_body(resource: ResourceDef, items: Sequence[Stored], meta: Object) -> bytes:
    """Return a collection as JSON, from the items' JSON as it was made once."""
    head = msgspec.json.encode(
        {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": meta}
    )
    return head[:-1] + b',"items":[' + b",".join(item.json for item in items) + b"]}"


def deleted_status(resource: ResourceDef, obj: Object) -> Object:
    """Return the Status that says that an object is gone."""
    details = {
        "name": obj["metadata"]["name"],
        "group": resource.group,
        "kind": resource.plural,
        "uid": obj["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
