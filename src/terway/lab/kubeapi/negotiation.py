"""In which form does a client want its answer, and in which did it send its body?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from terway.lab.kubeapi import protobuf
from terway.lab.kubeapi.errors import bad_request, not_acceptable, unsupported_media_type
from terway.lab.kubeapi.yaml_text import load_yaml

JSON_TYPE = "application/json"
YAML_TYPE = "application/yaml"
_ANY = ("*/*", "application/*", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of an answer: JSON, as itself, as a Table or as an aggregated discovery document."""

    table_version: str = ""  # "v1" or "v1beta1"
    discovery_version: str = ""  # "v2" or "v2beta1"
    partial_version: str = ""  # PartialObjectMetadata


def choose_form(accept: str) -> Form:
    """Return the first form in an Accept header that we have. ApiError 406 without one."""
    for entry in accept.split(","):
        parts = [part.strip() for part in entry.split(";")]
        if parts[0] not in (JSON_TYPE, *_ANY):
            continue
        params = dict(part.split("=", 1) for part in parts[1:] if "=" in part)
        form = _form(params.get("as", ""), params.get("v", ""))
        if form is not None:
            return form
    raise not_acceptable((JSON_TYPE,))


def _form(wanted: str, version: str) -> Form | None:
    match wanted:
        case "":
            return Form()
        case "Table":
            return Form(table_version=version or "v1")
        case "APIGroupDiscoveryList":
            return Form(discovery_version=version or "v2")
        case "PartialObjectMetadata" | "PartialObjectMetadataList":
            return Form(partial_version=version or "v1")
        case _:
            return None


def decode_body(body: bytes, content_type: str) -> Any:
    """Return a request's body. ApiError 415 for a format that is not ours, 400 for a broken one."""
    media_type = content_type.partition(";")[0].strip()
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode_protobuf(body)
    if media_type in (YAML_TYPE, "application/apply-patch+yaml"):
        return _decode_yaml(body)
    if media_type not in (JSON_TYPE, "") and not media_type.endswith("+json"):
        raise unsupported_media_type((JSON_TYPE, YAML_TYPE, protobuf.MEDIA_TYPE))
    if not body:
        return {}
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"the body of the request is not JSON: {error}") from error


def _decode_yaml(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)  # JSON is YAML, and read a hundred times faster
    except msgspec.DecodeError:
        pass
    try:
        return load_yaml(body)
    except yaml.YAMLError as error:
        raise bad_request(f"the body of the request is not YAML: {error}") from error
