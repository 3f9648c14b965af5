"""terway-cli connectivity-test: does every path between pods and nodes of a cluster work?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.matrix_plan import (
    LABEL,
    Outcome,
    Trial,
    client_manifest,
    junit,
    matrix_lines,
    outcomes,
    server_manifest,
    service_trials,
    trials,
)
from terway.cli.place import Place, find_place, place_options
from terway.cli.read_kube import open_client, read_kube
from terway.cli.snapshot import KubePod, KubeView
from terway.cli.table import print_json, print_lines
from terway.kube.client import KubeClient, Propagation
from terway.kube.resource import NAMESPACES, PODS
from terway.model.errors import TransientError

_LOOK_EVERY_S = 0.3
_ENDED = ("Succeeded", "Failed")


@click.command("connectivity-test")
@click.option("--namespace", default="terway-connectivity-test", show_default=True)
@click.option("--image", default="python:3-alpine", show_default=True, help="Has python3.")
@click.option("--mtu", type=click.IntRange(1280, 9000), default=1500, show_default=True)
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True)
@click.option("--junit", "junit_path", default="", help="Write the report as JUnit XML, too.")
@click.option("--keep", is_flag=True, help="Leave the pods for a closer look.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(
    *,
    namespace: str,
    image: str,
    mtu: int,
    timeout_s: float,
    junit_path: str,
    keep: bool,
    as_json: bool,
    **where: str,
) -> None:
    """Try every path: pod to pod on the same and on other nodes, pod to node, node to pod.

    Also pod to service, to the metadata service, and packets of the full MTU that must not be
    split, in every family that the pods have. A namespace with a few pods on every node is made
    and removed again. Exit code 1 when a path fails.
    """
    test = Matrix(find_place(**where), namespace=namespace, image=image, timeout_s=timeout_s)
    found = asyncio.run(test.run(mtu_bytes=mtu, keep=keep))
    if junit_path:
        Path(junit_path).write_text(junit(found))
    if as_json:
        print_json(found)
    else:
        print_lines(matrix_lines(found))
    raise SystemExit(FOUND if any(one.error for one in found) else OK)


class Matrix:
    """One run of the test."""

    def __init__(self, place: Place, *, namespace: str, image: str, timeout_s: float) -> None:
        self._place = place
        self._namespace = namespace
        self._image = image
        self._timeout_s = timeout_s
        self._script = files("terway.cli").joinpath("probe.py").read_text()

    async def run(self, *, mtu_bytes: int, keep: bool) -> tuple[Outcome, ...]:
        """Return what came of every path. What was made is removed, also after a failure."""
        async with open_client(self._place) as client:
            await self._remove(client)
            await client.create(
                NAMESPACES, {"metadata": {"name": self._namespace, "labels": {LABEL: "true"}}}
            )
            try:
                return await self._try_all(client, mtu_bytes)
            finally:
                if not keep:
                    await self._remove(client)

    async def _try_all(self, client: KubeClient, mtu_bytes: int) -> tuple[Outcome, ...]:
        cluster = await read_kube(self._place, everything=True)
        nodes = [one.name for one in cluster.nodes if one.is_ready]
        _say(f"a server pod on each of {len(nodes)} nodes")
        servers = [self._server(node) for node in nodes]
        await self._create(client, servers)
        running = await self._wait(client, servers, lambda pod: pod.phase == "Running")
        is_served = any(one.name.startswith("kube-proxy") for one in cluster.pods)
        extra, skipped = service_trials(cluster.services, is_served=is_served)
        tries = (*trials(running, cluster.nodes, mtu_bytes=mtu_bytes), *extra)
        _say(f"{len(tries)} paths from each of {2 * len(nodes)} places")
        clients = [self._client(node, tries, own) for node in nodes for own in (False, True)]
        await self._create(client, clients)
        ended = await self._wait(client, clients, lambda pod: pod.phase in _ENDED)
        found = [one for pod in ended for one in await self._answers(client, pod)]
        return (*found, *skipped)

    def _server(self, node: str) -> dict[str, Any]:
        return server_manifest(
            node, namespace=self._namespace, image=self._image, script=self._script
        )

    def _client(self, node: str, tries: Sequence[Trial], host_network: bool) -> dict[str, Any]:
        return client_manifest(
            node,
            tries,
            namespace=self._namespace,
            image=self._image,
            script=self._script,
            host_network=host_network,
        )

    async def _create(self, client: KubeClient, manifests: Iterable[dict[str, Any]]) -> None:
        for one in manifests:
            await client.create(PODS.typed(dict), one, namespace=self._namespace)

    async def _wait(
        self,
        client: KubeClient,
        manifests: Sequence[dict[str, Any]],
        is_there: Callable[[KubePod], bool],
    ) -> list[KubePod]:
        """Return the pods once all are there. Raises TransientError after the timeout."""
        names = {one["metadata"]["name"] for one in manifests}
        end = time.monotonic() + self._timeout_s
        while True:
            view: KubeView = await read_kube(self._place, everything=True)
            ours = [one for one in view.pods if one.namespace == self._namespace]
            ready = [one for one in ours if one.name in names and is_there(one)]
            if len(ready) == len(names) and all(one.addresses for one in ready):
                return ready
            if time.monotonic() > end:
                late = ", ".join(sorted(names - {one.name for one in ready}))
                look = f"kubectl -n {self._namespace} describe pod (and --keep)"
                raise TransientError(f"not within {self._timeout_s:g} s: {late}; {look}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _answers(self, client: KubeClient, pod: KubePod) -> list[Outcome]:
        path = PODS.path(namespace=self._namespace, name=pod.name, subresource="log")
        text = (await client.request("GET", path)).decode(errors="replace")
        source = f"{'node' if pod.is_host_network else 'pod on'} {pod.node}"
        try:
            return list(outcomes(source, json.loads(text.strip().splitlines()[-1])))
        except (ValueError, IndexError):
            words = text.strip()[-200:] or "it said nothing"
            return [Outcome(source=source, to="(all)", what="tcp", error=f"no report: {words}")]

    async def _remove(self, client: KubeClient) -> None:
        """Delete the namespace and wait until it is gone."""
        listed = (await client.list(PODS, namespace=self._namespace)).items
        for pod in listed:
            await client.delete(PODS, pod.metadata.name, namespace=self._namespace, grace_s=0)
        await client.delete(NAMESPACES, self._namespace, propagation=Propagation.BACKGROUND)
        end = time.monotonic() + self._timeout_s
        while await client.get(NAMESPACES, self._namespace) is not None:
            if time.monotonic() > end:
                raise TransientError(f"namespace {self._namespace} does not go away")
            await asyncio.sleep(_LOOK_EVERY_S)


def _say(text: str) -> None:
    click.echo(f"{text} …", err=True)
