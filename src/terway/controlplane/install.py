"""Are our custom resources known to the API server, in this version or a later one?

Like upstream, the binary brings its CRDs along and marks them with their version; a CRD is only
ever replaced by a later one, so an older binary that starts during an upgrade undoes nothing.
Source: upstream's pkg/apis/crds/register.go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

import structlog

from terway.kube.client import KubeClient
from terway.kube.resource import Resource
from terway.model.errors import ConflictError, TransientError, UsageError, VpcError

_log = structlog.get_logger("install")

VERSION = "crd.network.alibabacloud.com/version"
CRDS: Resource[dict[str, Any]] = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
    read_as=dict[str, Any],
)

KEEP_EVERY_S = 60.0
_ESTABLISHED_S = 30.0
_LOOK_EVERY_S = 0.2
_NUMBERS = re.compile(r"v(\d+)\.(\d+)\.(\d+)(-.*)?")

Definition = dict[str, Any]


def read_definitions() -> tuple[Definition, ...]:
    """Return our CRDs."""
    import yaml  # only here: a process reads them once

    folder = resources.files(__package__) / "crds"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    texts = (file.read_text() for file in files if file.name.endswith(".yaml"))
    return tuple(yaml.safe_load(text) for text in texts)


def version_of(definition: Definition) -> tuple[int, int, int, bool]:
    """Return the version in an order that compares; what is no version is before all others."""
    text = (definition["metadata"].get("annotations") or {}).get(VERSION, "")
    found = _NUMBERS.fullmatch(text)
    if found is None:
        return (-1, 0, 0, False)
    major, minor, patch, early = found.groups()
    return (int(major), int(minor), int(patch), early is None)


async def install_definitions(client: KubeClient, definitions: Iterable[Definition]) -> None:
    """Create each CRD, or replace an earlier version of it; return when all are served.

    Safe to repeat, and to be done by several at a time. Raises TransientError when a CRD is not
    served within half a minute, UsageError when it never will be because its names are taken.
    """
    wanted = tuple(definitions)
    for definition in wanted:
        await _install(client, definition)
    for definition in wanted:
        await _wait_until_served(client, definition["metadata"]["name"])


async def keep_definitions(client: KubeClient, *, every_s: float = KEEP_EVERY_S) -> None:
    """Make again what somebody deletes, until cancelled.

    Their objects are gone with them; those are written anew by who owns them.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            await install_definitions(client, read_definitions())
        except VpcError as error:
            _log.warning("install.not_kept", error=str(error))


async def _install(client: KubeClient, definition: Definition) -> None:
    name = definition["metadata"]["name"]
    while True:
        found = await client.get(CRDS, name)
        if found is not None and version_of(found) >= version_of(definition):
            return
        try:
            if found is None:
                await client.create(CRDS, definition)
            else:
                await client.update(CRDS, _replaced(found, definition))
        except ConflictError:
            continue  # another instance installs, too: look what has become of it
        version = definition["metadata"]["annotations"][VERSION]
        _log.info("install.crd", name=name, version=version, was_there=found is not None)
        return


def _replaced(found: Definition, definition: Definition) -> Definition:
    metadata = found["metadata"]
    marks = {**(metadata.get("annotations") or {}), **definition["metadata"]["annotations"]}
    return {**found, "metadata": {**metadata, "annotations": marks}, "spec": definition["spec"]}


async def _wait_until_served(client: KubeClient, name: str) -> None:
    conditions: dict[str, Any] = {}
    try:
        async with asyncio.timeout(_ESTABLISHED_S):
            while (conditions := await _conditions(client, name)).get("Established") != "True":
                if conditions.get("NamesAccepted") == "False":
                    text = f"CRD {name}: another CRD has its names; remove that one"
                    raise UsageError(text, field="spec.names")
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError as error:
        text = f"CRD {name} is not served after {_ESTABLISHED_S:g} s: conditions {conditions}"
        raise TransientError(text) from error


async def _conditions(client: KubeClient, name: str) -> dict[str, str]:
    found = await client.get(CRDS, name)
    listed = ((found or {}).get("status") or {}).get("conditions") or ()
    return {one["type"]: one["status"] for one in listed}
