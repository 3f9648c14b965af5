"""Which documents about itself does the server hand out? Discovery, OpenAPI, version, health."""

from __future__ import annotations

from aiohttp import web

from terway.lab.kubeapi import discovery, openapi
from terway.lab.kubeapi.answers import json_answer
from terway.lab.kubeapi.negotiation import choose_form
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceTable

# Asked for with "@" by old clients; answered with "." since Go's mime package refuses the "@".
_PROTOBUF_ASKED = "application/com.github.proto-openapi.spec.v2"
_PROTOBUF_GIVEN = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_HEALTH = ("/healthz", "/livez", "/readyz")


def find_document(table: ResourceTable, path: str, accept: str) -> Object | None:
    """Return the JSON document at a path, None where there is none."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["openapi"]:
        return _openapi(table, parts[1:])
    document: Object | None = None
    match parts:
        case ["version"]:
            document = discovery.VERSION
        case ["api"] | ["apis"]:
            document = _root(table, accept, core=parts == ["api"])
        case ["api", version]:
            document = discovery.resource_list(table, "", version)
        case ["apis", group]:
            document = discovery.group_document(table, group)
        case ["apis", group, version]:
            document = discovery.resource_list(table, group, version)
        case _:
            pass
    return document


def _openapi(table: ResourceTable, parts: list[str]) -> Object | None:
    match parts:
        case ["v2"]:
            return openapi.v2_document(table)
        case ["v3"]:
            return openapi.v3_index(table)
        case ["v3", "api", version]:
            return openapi.v3_document(table, "", version)
        case ["v3", "apis", group, version]:
            return openapi.v3_document(table, group, version)
        case _:
            return None


def _root(table: ResourceTable, accept: str, *, core: bool) -> Object:
    form = choose_form(accept)
    if form.discovery_version:
        return discovery.aggregated(table, core=core, version=form.discovery_version)
    return discovery.core_versions() if core else discovery.group_list(table)


def answer_document(table: ResourceTable, http: web.Request) -> web.Response | None:
    """Return the answer to a request for a document, None when it is for something else."""
    if http.method != "GET":
        return None
    if http.path in _HEALTH:
        return web.Response(text="ok")
    accept = http.headers.get("Accept", "")
    if http.path == "/openapi/v2" and accept.startswith(_PROTOBUF_ASKED):
        headers = {"Content-Type": _PROTOBUF_GIVEN}
        return web.Response(body=openapi.v2_protobuf(table), headers=headers)
    document = find_document(table, http.path, accept)
    if document is None:
        return None
    answer = json_answer(document)
    if str(document.get("kind")) == "APIGroupDiscoveryList":
        version = str(document["apiVersion"]).partition("/")[2]
        answer.headers["Content-Type"] = (
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        )
    return answer
