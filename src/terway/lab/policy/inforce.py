"""Has every node in force what the API says now?

terwayd says on its read-only socket up to which resourceVersion it has heard of each kind, and
whether all of that is in force. What is there says from which version on it is told of; what is
gone is seen by its absence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

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
    metadata_of,
)
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import ConflictError, TransientError

SOCKET = "/var/run/eni/eni_debug.socket"
POLICY_KINDS = (
    NETWORK_POLICIES,
    CLUSTER_NETWORK_POLICIES,
    ADMIN_NETWORK_POLICIES,
    BASELINE_ADMIN_NETWORK_POLICIES,
)
_PAGE = "http://terwayd/debug/policy"
_LOOK_EVERY_S = 0.02


async def wait_in_force(
    kube: KubeClient, sockets: Mapping[str, Path], *, timeout_s: float = PATIENCE_S
) -> tuple[str, ...]:
    """Return once all nodes have in force what the API says; `sockets` are terwayd's, by node.

    Returns the nodes that enforce nothing at all. TransientError says what a node lacks.
    """
    wanted = await _read_cluster(kube)
    async with asyncio.TaskGroup() as tasks:
        waits = {
            node: tasks.create_task(_wait_node(node, path, wanted, timeout_s))
            for node, path in sockets.items()
        }
    return tuple(node for node, wait in waits.items() if not wait.result())


class _Wanted:
    """What a node must have heard."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.policies: set[str] = set()


async def _read_cluster(kube: KubeClient) -> _Wanted:
    wanted = _Wanted()
    kinds: Sequence[Resource[Any]] = (PODS, NAMESPACES, NODES, *POLICY_KINDS)
    for resource in kinds:
        try:
            items = (await kube.list(resource)).items
        except ConflictError:  # the server does not have the kind
            continue
        metas = [metadata_of(item) for item in items]
        wanted.versions[resource.plural] = max(
            (int(meta.resource_version) for meta in metas), default=0
        )
        if resource in POLICY_KINDS:
            wanted.policies |= {
                f"{resource.kind} {meta.namespace}/{meta.name}".replace(" /", " ") for meta in metas
            }
        else:
            wanted.counts[resource.plural] = len(metas)
    return wanted


async def _wait_node(node: str, path: Path, wanted: _Wanted, timeout_s: float) -> bool:
    """Return False for a node that enforces nothing."""
    lacks = "terwayd does not answer"
    connector = aiohttp.UnixConnector(path=str(path))
    try:
        async with asyncio.timeout(timeout_s), aiohttp.ClientSession(connector=connector) as http:
            while True:
                page = await _read_page(http)
                if page is None:
                    return False
                lacks = _lacks(page, wanted)
                if not lacks:
                    return True
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError as error:
        raise TransientError(f"{node} has not in force what the API says: {lacks}") from error


async def _read_page(http: aiohttp.ClientSession) -> dict[str, Any] | None:
    try:
        async with http.get(_PAGE) as answer:
            page: dict[str, Any] = await answer.json() if answer.status == 200 else {}
            return page or None
    except aiohttp.ClientError as error:
        return {"settled": False, "in_force": {"trouble": f"terwayd does not answer: {error}"}}


def _lacks(page: Mapping[str, Any], wanted: _Wanted) -> str:
    """Return what a node has not heard, or not in force yet; empty for nothing."""
    heard: Mapping[str, str] = page.get("heard", {})
    for kind, version in wanted.versions.items():
        if version > int(heard.get(kind) or 0):
            return f"{kind} heard up to version {heard.get(kind) or 'none'}, not {version}"
    gone = {str(one["policy"]) for one in page.get("policies", ())} ^ wanted.policies
    if gone:
        return f"another set of policies, by {', '.join(sorted(gone))}"
    for kind, count in wanted.counts.items():
        if page.get(kind) != count:
            return f"{page.get(kind)} {kind}, not {count}"
    if not page.get("settled"):
        return str(page.get("in_force", {}).get("trouble") or "it is not in force yet")
    return ""
