"""Which OpenAPI documents does kubectl want before it sends anything?

kubectl reads them to learn whether the server checks fields itself (it does: fieldValidation)
and knows dry-run. Schemas are described for `kubectl explain`; kubectl's own merge keys serve
for patches. kubectl 1.20 takes /openapi/v2 in protobuf only, so the few messages that it needs
are encoded here. Source: github.com/google/gnostic openapiv2/OpenAPIv2.proto; KEP-2896.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.lab.kubeapi.customresources.kind import CustomKind
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ResourceDef, ResourceTable
from terway.lab.kubeapi.schema import FieldType, declared_fields

_QUERY = ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")
_SCALARS: dict[str, Object] = {
    "any": {},
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "intstr": {"type": "string", "format": "int-or-string"},
}
_INFO = {"title": "Kubernetes", "version": "v1.32.0"}


def collection_path(row: ResourceDef) -> str:
    """Return the path of a kind's collection, with {namespace} where it has one."""
    root = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    middle = "/namespaces/{namespace}" if row.namespaced else ""
    return f"{root}{middle}/{row.plural}"


def _operation(row: ResourceDef, method: str) -> Object:
    return {
        "operationId": f"{method}{row.group.split('.')[0].title()}{row.version.title()}{row.kind}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in _QUERY
        ],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": method,
        "x-kubernetes-group-version-kind": _gvk(row),
    }


def _gvk(row: ResourceDef) -> Object:
    return {"group": row.group, "version": row.version, "kind": row.kind}


def v3_index(table: ResourceTable) -> Object:
    """Return the document at /openapi/v3: where each group's is."""
    names = [
        f"apis/{group}/{version}" if group else f"api/{version}"
        for group, version in table.group_versions()
    ]
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in names}}


def v3_document(table: ResourceTable, group: str, version: str) -> Object | None:
    """Return one group's OpenAPI v3 document, None for an unknown group."""
    rows = table.in_group(group, version)
    if not rows:
        return None
    schemas: dict[str, Object] = {}
    for row in rows:
        if row.custom:
            schemas[f"{row.group}.{row.version}.{row.kind}"] = _custom(row, row.custom, schemas)
            continue
        _describe(row.schema_name, schemas)
        root = schemas.setdefault(row.schema_name, {"type": "object"})
        root["x-kubernetes-group-version-kind"] = [_gvk(row)]
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {path: dict(methods) for row in rows for path, methods in _paths(row)},
        "components": {"schemas": schemas},
    }


def _paths(row: ResourceDef) -> Iterator[tuple[str, list[tuple[str, Object]]]]:
    path = collection_path(row)
    yield path, [("get", _operation(row, "list")), ("post", _operation(row, "post"))]
    methods = ("get", "put", "patch", "delete")
    yield f"{path}/{{name}}", [(method, _operation(row, method)) for method in methods]


def _custom(row: ResourceDef, kind: CustomKind, schemas: dict[str, Object]) -> Object:
    """Return the CRD's schema with the fields that every object has."""
    _describe("ObjectMeta", schemas)
    text = {"type": "string"}
    envelope = {
        "apiVersion": text,
        "kind": text,
        "metadata": {"$ref": "#/components/schemas/ObjectMeta"},
    }
    properties = {**kind.schema.get("properties", {}), **envelope}
    gvk = {"x-kubernetes-group-version-kind": [_gvk(row)]}
    return {**kind.schema, "properties": properties, **gvk}


def _describe(name: str, schemas: dict[str, Object]) -> None:
    fields = declared_fields(name)
    if name in schemas or fields is None:
        return
    properties: dict[str, Object] = {}
    schemas[name] = {"type": "object", "properties": properties}
    for field, type_ in fields.items():
        properties[field] = _schema_of(type_, schemas)


def _schema_of(type_: FieldType, schemas: dict[str, Object]) -> Object:
    if type_.name == "[]" and type_.item:
        return {"type": "array", "items": _schema_of(type_.item, schemas)}
    if type_.name == "{}" and type_.item:
        return {"type": "object", "additionalProperties": _schema_of(type_.item, schemas)}
    if type_.name in _SCALARS:
        return _SCALARS[type_.name]
    _describe(type_.name, schemas)
    return {"$ref": f"#/components/schemas/{type_.name}"}


def v2_document(table: ResourceTable) -> Object:
    """Return the OpenAPI v2 document: the patch operations and what they accept."""
    paths = {f"{collection_path(row)}/{{name}}": {"patch": _v2_patch(row)} for row in table.rows}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def _v2_patch(row: ResourceDef) -> Object:
    return {
        "operationId": f"patch{row.kind}",
        "parameters": [{"name": name, "in": "query", "type": "string"} for name in _QUERY],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-group-version-kind": _gvk(row),
    }


def v2_protobuf(table: ResourceTable) -> bytes:
    """Return the v2 document as gnostic's protobuf: Document{swagger, info, paths}."""
    info = _text(1, _INFO["title"]) + _text(2, _INFO["version"])
    paths = b"".join(
        # Paths.path = 2: NamedPathItem{name = 1, value = 2: PathItem{patch = 8: Operation}}
        _message(
            2,
            _text(1, f"{collection_path(row)}/{{name}}")
            + _message(2, _message(8, _operation_protobuf(row))),
        )
        for row in table.rows
    )
    return _text(1, "2.0") + _message(2, info) + _message(8, paths)


def _operation_protobuf(row: ResourceDef) -> bytes:
    # Operation{operation_id = 5, parameters = 8, responses = 9, vendor_extension = 13}
    parameters = b"".join(_message(8, _parameter_protobuf(name)) for name in _QUERY)
    gvk = f'group: "{row.group}"\nversion: "{row.version}"\nkind: "{row.kind}"\n'
    # NamedAny{name = 1, value = 2: Any{yaml = 2}}
    extension = _text(1, "x-kubernetes-group-version-kind") + _message(2, _text(2, gvk))
    return _text(5, f"patch{row.kind}") + parameters + _message(13, extension)


def _parameter_protobuf(name: str) -> bytes:
    # ParametersItem{parameter = 1: Parameter{non_body_parameter = 2: NonBodyParameter{
    #   query_parameter_sub_schema = 3: QueryParameterSubSchema{in = 2, name = 4, type = 6}}}}
    schema = _text(2, "query") + _text(4, name) + _text(6, "string")
    return _message(1, _message(2, _message(3, schema)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())
