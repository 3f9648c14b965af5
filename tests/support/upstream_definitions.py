"""Which definitions of custom resources does upstream's binary bring along?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.upstream_resources import GROUP, Object

# As upstream's binary has them: ours are later, and replace them.
VERSIONS = {
    "PodENI": "v0.4.2",
    "PodNetworking": "v0.1.0",
    "Node": "v0.10.0",
    "NodeRuntime": "v0.1.0",
    "NetworkInterface": "v0.1.0",
}


def definitions(ours: Iterable[Mapping[str, Any]]) -> list[Object]:
    """Return upstream's CRDs: as ours, of their versions, and with what only upstream has."""
    found = []
    for one in ours:
        kind = one["spec"]["names"]["kind"]
        if kind not in VERSIONS:
            continue
        version = {f"crd.{GROUP}/version": VERSIONS[kind]}
        spec = _with_card_index(one["spec"]) if kind == "NetworkInterface" else one["spec"]
        found.append({**one, "metadata": {**one["metadata"], "annotations": version}, "spec": spec})
    return found


def _with_card_index(spec: Mapping[str, Any]) -> Object:
    """Return the spec with `status.cardIndex`, which versions before 1.15 wrote."""
    (version,) = spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = schema["properties"]
    status = parts["status"]
    status = {**status, "properties": {**status["properties"], "cardIndex": {"type": "integer"}}}
    schema = {**schema, "properties": {**parts, "status": status}}
    return {**spec, "versions": [{**version, "schema": {"openAPIV3Schema": schema}}]}
