"""Which objects are in a folder, a file, standard input, a support bundle, or a cluster?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from terway.cli.place import Place, find_place
from terway.cli.policy_bundle import bundle_objects
from terway.cli.read_kube import open_client
from terway.kube.client import KubeClient
from terway.kube.resource import (
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    Resource,
)
from terway.model.errors import ConflictError, UsageError

STDIN = "-"
LIVE = "@live"  # in the place of a file: the cluster
_SUFFIXES = (".yaml", ".yml", ".json")
_BUNDLES = (".tar.gz", ".tgz")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

POLICY_KINDS: tuple[Resource[Any], ...] = (
    NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
)
_LIVE_KINDS: tuple[Resource[Any], ...] = (NAMESPACES, NODES, PODS, *POLICY_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object, and where it was found. One that `is_live` is as it is: nothing is made up."""

    raw: Mapping[str, Any]
    origin: str
    is_live: bool = False


def read_objects(sources: Iterable[str], **where: str) -> tuple[Found, ...]:
    """Return the objects of all sources, in order; without any source those of the cluster.

    Raises UsageError for what is no manifest, TransientError when no API server answers.
    """
    return tuple(
        one
        for source in (tuple(sources) or (LIVE,))
        for one in (_read_live(**where) if source == LIVE else _read_source(source))
    )


def _read_source(source: str) -> Iterator[Found]:
    if source == STDIN:
        yield from parse_documents(sys.stdin.read(), "standard input")
        return
    path = Path(source)
    if source.endswith(_BUNDLES):
        yield from read_bundled(path)
        return
    files = sorted(_manifests(path)) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{source}: no file of it ends in {', '.join(_SUFFIXES)}; name one")
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{file}: {reason}; name a folder or file of manifests") from error
        yield from parse_documents(text, str(file))


def read_bundled(path: Path) -> Iterator[Found]:
    """Yield the objects of the cluster of a support bundle. Raises UsageError, TransientError."""
    origin = f"the cluster of {path}"
    return (Found(raw=raw, origin=origin, is_live=True) for raw in bundle_objects(path))


def _manifests(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def parse_documents(text: str, origin: str) -> Iterator[Found]:
    """Yield the objects of a YAML or JSON text; a List is what is in it. Raises UsageError."""
    for raw in _documents(text, origin):
        if raw is not None:
            yield from _unfolded(raw, origin)


def _documents(text: str, origin: str) -> Iterable[object]:
    try:
        if text.lstrip().startswith("{"):
            return (json.loads(text),)
        return tuple(yaml.load_all(text, Loader=_LOADER))
    except json.JSONDecodeError as error:
        raise UsageError(f"{origin}: no JSON: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{origin}: no YAML: {' '.join(str(error).split())}") from error


def _unfolded(raw: object, origin: str) -> Iterator[Found]:
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise UsageError(f"{origin}: {str(raw)[:40]!r} is no object of Kubernetes: it has no kind")
    kind, items = raw["kind"], raw.get("items")
    if not kind.endswith("List") or not isinstance(items, list):
        yield Found(raw=raw, origin=origin)
        return
    of_one = {"kind": kind.removesuffix("List"), "apiVersion": raw.get("apiVersion", "v1")}
    for item in items:
        full = {**of_one, **item} if isinstance(item, dict) and kind != "List" else item
        yield from _unfolded(full, origin)


def _read_live(**where: str) -> tuple[Found, ...]:
    return asyncio.run(read_cluster(find_place(**where)))


async def read_cluster(place: Place) -> tuple[Found, ...]:
    """Return the objects of a cluster. Raises TransientError when no API server answers."""
    async with open_client(place) as client:
        found = [one for kind in _LIVE_KINDS for one in await _list(client, kind)]
    return tuple(found)


async def _list(client: KubeClient, resource: Resource[Any]) -> list[Found]:
    try:
        items = (await client.list(resource.typed(dict))).items
    except ConflictError:
        return []  # this server has no such kind
    of_one = {"kind": resource.kind, "apiVersion": resource.api_version}
    return [Found(raw={**of_one, **item}, origin="the cluster", is_live=True) for item in items]
