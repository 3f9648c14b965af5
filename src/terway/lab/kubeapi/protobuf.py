"""What does a request body in Kubernetes' protobuf say? kubectl from 1.32 sends some as such.

The answers stay JSON, which those clients accept as well. protobuf.json has one line a type:
field number -> JSON name, with ``*`` behind a scalar whose zero means something (a pointer in
Go), ``@kind`` behind one with a form of its own, and ``+Type`` for a message whose fields are the
outer one's own in JSON. Source: protobuf and json tags of k8s.io/api v0.32, types.go;
k8s.io/apimachinery runtime/serializer/protobuf (the envelope).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from terway.kube.clock import format_micro_time, format_time
from terway.lab.kubeapi.errors import bad_request
from terway.lab.kubeapi.schema import ANY, FieldType, field_type, is_struct, type_named

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}

Value = int | bytes


@cache
def _fields() -> dict[str, dict[str, str]]:
    text = (files("terway.lab.kubeapi") / "protobuf.json").read_text()
    fields: dict[str, dict[str, str]] = json.loads(text)
    return fields


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """Return the object in a body. ApiError 400 for one that is broken or of an unknown kind."""
    try:
        return _decode_envelope(body)
    except (IndexError, ValueError, KeyError) as error:
        raise bad_request(f"the body of the request is not protobuf of ours: {error}") from error


def _decode_envelope(body: bytes) -> dict[str, Any]:
    if not body.startswith(_MAGIC):
        raise ValueError("no k8s magic")
    envelope = dict(_read_fields(body[len(_MAGIC) :]))  # runtime.Unknown
    kind = {number: _text(value) for number, value in _read_fields(_blob(envelope[1]))}
    type_ = type_named(kind[2])
    if type_ is ANY:
        raise ValueError(f"kind {kind[2]}")
    fields = _message(_blob(envelope.get(2, b"")), type_)
    return {"apiVersion": kind[1], "kind": kind[2], **fields}


def _read_fields(data: bytes) -> Iterator[tuple[int, Value]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _read_varint(data, at)
        else:
            length = _WIDTHS[wire]
        if at + length > len(data):
            raise ValueError("cut short")
        yield number, data[at : at + length]
        at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _blob(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")  # of the wire
    return value


def _text(value: Value) -> str:
    return _blob(value).decode()


def _message(data: bytes, type_: FieldType, row_name: str = "") -> dict[str, Any]:
    row = _fields()[row_name or type_.name]
    result: dict[str, Any] = {}
    for number, value in _read_fields(data):
        spec = row.get(str(number))
        if spec is None:
            continue  # a field newer than the table, as JSON's unknown ones
        if spec.startswith("+"):
            result |= _message(_blob(value), type_, spec[1:])
            continue
        name, _, form = spec.partition("@")
        keeps_zero, name = name.endswith("*") or form == "intstr", name.rstrip("*")
        _add(result, name, value, type_=field_type(type_, name) or ANY, form=form)
        if result.get(name) in ("", 0, None) and not keeps_zero:
            result.pop(name, None)
    return result


def _add(result: dict[str, Any], name: str, value: Value, *, type_: FieldType, form: str) -> None:
    if type_.name == "[]":
        result.setdefault(name, []).append(_value(value, type_.item or ANY, form))
    elif type_.name == "{}":
        entry = dict(_read_fields(_blob(value)))
        key, held = _text(entry.get(1, b"")), entry.get(2, b"")
        result.setdefault(name, {})[key] = _value(held, type_.item or ANY, form)
    else:
        result[name] = _value(value, type_, form)


def _value(value: Value, type_: FieldType, form: str) -> Any:
    if form:
        return _special(_blob(value), form)
    if is_struct(type_):
        return _message(_blob(value), type_)
    if isinstance(value, int):
        return bool(value) if type_.name == "boolean" else _signed(value)
    return value.decode()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _special(data: bytes, form: str) -> Any:
    if form == "bytes":
        return base64.b64encode(data).decode()
    held = dict(_read_fields(data))
    match form:
        case "raw":
            return json.loads(_blob(held.get(1, b"{}")))
        case "quantity":
            return _text(held.get(1, b"0"))
        case "intstr":  # IntOrString{type = 1, intVal = 2, strVal = 3}
            number = held.get(2, 0)
            return _text(held.get(3, b"")) if held.get(1) else _signed(int(number))
        case _:  # Time{seconds = 1, nanos = 2}; an empty one is none
            seconds = _signed(int(held.get(1, 0)))
            render = format_micro_time if form == "microtime" else format_time
            return render(seconds + int(held.get(2, 0)) / 1e9) if seconds else None
