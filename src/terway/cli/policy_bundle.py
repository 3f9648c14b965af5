"""What of policies is in a support bundle? What policy reads of objects, and the kernel's tables.

Of pods, namespaces and nodes only that: no environment, no annotation, no volume gets in, and with
those no secret. Policies are whole: what they say is what somebody asks about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from terway.cli.bundle_file import read_bundle_file
from terway.cli.codec import parse, plain
from terway.linux.ebpf.policy_maps import Dump
from terway.model.errors import TransientError
from terway.model.nft import Table

Json = Mapping[str, Any]

OBJECTS_NAME = "policies.json"
TABLES_NAME = "policy-tables.json"
MAPS_NAME = "policy-maps.json"  # where a data path in eBPF judges
_MOST_BYTES = 64_000_000  # of a file, before it is packed; of 100,000 pods there are half as many

_METADATA = ("name", "namespace", "labels", "uid", "generation", "creationTimestamp")
_SPEC: Mapping[str, tuple[str, ...]] = {"Pod": ("nodeName", "hostNetwork")}
_STATUS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("phase", "podIP", "podIPs"),
    "Node": ("addresses",),
}
_STATES = ("Pod", "Namespace", "Node")
_PORT = ("name", "containerPort", "protocol")
_OWNER = ("kind", "name", "controller")


def lean(raw: Json) -> dict[str, Any]:
    """Return what policy reads of an object."""
    kind, metadata = raw["kind"], raw.get("metadata") or {}
    kept: dict[str, Any] = {
        "kind": kind,
        "apiVersion": raw.get("apiVersion", "v1"),
        "metadata": _only(metadata, _METADATA),
    }
    owners = [_only(one, _OWNER) for one in metadata.get("ownerReferences") or ()]
    if owners:
        kept["metadata"]["ownerReferences"] = owners
    spec = raw.get("spec") or {}
    if kind not in _STATES:
        return {**kept, "spec": spec}
    kept["spec"] = {**_only(spec, _SPEC.get(kind, ())), **_containers(spec, kind)}
    kept["status"] = _only(raw.get("status") or {}, _STATUS.get(kind, ()))
    return kept


def _containers(spec: Json, kind: str) -> dict[str, Any]:
    if kind != "Pod":
        return {}
    return {
        field: [
            {
                **_only(one, ("name", "restartPolicy")),
                "ports": [_only(port, _PORT) for port in one.get("ports") or ()],
            }
            for one in spec.get(field) or ()
        ]
        for field in ("containers", "initContainers")
    }


def _only(raw: Json, fields: Iterable[str]) -> dict[str, Any]:
    return {field: raw[field] for field in fields if field in raw}


def objects_member(objects: Iterable[Json]) -> bytes:
    """Return the file with the objects, or one that says why they are left out."""
    return _bounded({"objects": [lean(one) for one in objects]})


def tables_member(tables: Mapping[str, Table | None]) -> bytes:
    """Return the file with the tables by network namespace, or one that says why they are not."""
    return _bounded({"tables": {netns: plain(table) for netns, table in tables.items()}})


def maps_member(dump: Dump) -> bytes:
    """Return the file with the maps' entries, or one that says why they are not there."""
    maps = {name: [[k.hex(), v.hex()] for k, v in one.items()] for name, one in dump.items()}
    return _bounded({"maps": maps})


def failed_member(error: Exception) -> bytes:
    """Return a file that says why it has nothing."""
    return json.dumps({"error": str(error)}).encode()


def _bounded(value: object) -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode()
    if len(data) <= _MOST_BYTES:
        return data
    text = f"left out: {len(data) // 1_000_000} MB, more than {_MOST_BYTES // 1_000_000}"
    return json.dumps({"error": text}).encode()


def bundle_objects(path: Path) -> Iterator[Json]:
    """Yield the objects of a bundle. Raises TransientError where it has none, and says why."""
    yield from _read(path, OBJECTS_NAME)["objects"]


def bundle_tables(path: Path) -> dict[str, Table | None]:
    """Return the tables of a bundle, by network namespace. Raises as `bundle_objects`."""
    found = _read(path, TABLES_NAME)["tables"]
    return {netns: None if raw is None else parse(Table, raw) for netns, raw in found.items()}


def bundle_maps(path: Path) -> Dump | None:
    """Return the maps of a bundle; None where tables judge. Raises as `bundle_objects`."""
    if read_bundle_file(path, MAPS_NAME) is None:
        return None
    found = _read(path, MAPS_NAME)["maps"]
    return {
        name: {bytes.fromhex(key): bytes.fromhex(value) for key, value in entries}
        for name, entries in found.items()
    }


def _read(path: Path, name: str) -> Json:
    text = read_bundle_file(path, name)
    if text is None:
        raise TransientError(f"--bundle {path}: no {name} in it; it is of an older terway-cli")
    raw: Json = json.loads(text)
    if "error" in raw:
        raise TransientError(f"--bundle {path}: {name} was not read: {raw['error']}")
    return raw
