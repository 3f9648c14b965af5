"""terway-cli connectivity-test: does every path between pods and nodes of a cluster work?"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.matrix_plan import (
    LABEL,
    SERVICE,
    Outcome,
    Trial,
    client_manifest,
    junit,
    left_out,
    matrix_lines,
    outcomes,
    server_manifest,
    service_manifest,
    service_trials,
    trials,
)
from terway.cli.place import Place, find_place, place_options
from terway.cli.read_kube import SERVICES, open_client, read_kube
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
@click.option("--timeout", "timeout_s", type=click.FloatRange(1), default=120.0, show_default=True)
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
    split, in every family that the pods have; DNS by a real query. What cannot be tried is listed
    with the reason. A namespace with a few pods on every node is made, and removed again, also
    after Ctrl-C. One node is enough.

    Exit code 0: every path works; 1: one fails, or a test pod does not come up; 3: the cluster
    cannot be reached.
    """
    test = Matrix(find_place(**where), namespace=namespace, image=image, timeout_s=timeout_s)
    found = asyncio.run(_run(test, mtu_bytes=mtu, keep=keep))
    if junit_path:
        Path(junit_path).write_text(junit(found))
    if as_json:
        print_json(found)
    else:
        print_lines(matrix_lines(found))
    raise SystemExit(FOUND if any(one.error for one in found) else OK)


async def _run(test: Matrix, *, mtu_bytes: int, keep: bool) -> tuple[Outcome, ...]:
    """Run the test; SIGTERM ends it as Ctrl-C does, and either removes what was made."""
    task = asyncio.current_task()
    assert task is not None  # a coroutine runs in one
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await test.run(mtu_bytes=mtu_bytes, keep=keep)
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


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
            try:
                await client.create(
                    NAMESPACES, {"metadata": {"name": self._namespace, "labels": {LABEL: "true"}}}
                )
                return await self._try_all(client, mtu_bytes)
            finally:  # also after Ctrl-C, which cancels this task
                if not keep:
                    _say("removing what was made")
                    await self._remove(client)

    async def _try_all(self, client: KubeClient, mtu_bytes: int) -> tuple[Outcome, ...]:
        cluster = await read_kube(self._place, everything=True)
        nodes = [one.name for one in cluster.nodes if one.is_ready]
        if not nodes:
            raise TransientError("no Node of the cluster is Ready: nothing can be tried")
        _say(f"a server pod on each of {len(nodes)} nodes")
        servers = [self._server(node) for node in nodes]
        await self._create(client, servers)
        running, missing = await self._wait(servers, lambda pod: pod.phase == "Running")
        here = {one.node for one in running}
        nodes = [one for one in nodes if one in here]
        extra, skipped = await self._services(client, cluster)
        tries = (*trials(running, cluster.nodes, mtu_bytes=mtu_bytes), *extra)
        _say(f"{len(tries)} paths from each of {2 * len(nodes)} places")
        clients = [self._client(node, tries, own) for node in nodes for own in (False, True)]
        await self._create(client, clients)
        ended, late = await self._wait(clients, lambda pod: pod.phase in _ENDED)
        found = [one for pod in ended for one in await self._answers(client, pod)]
        return (*found, *missing, *late, *skipped, *left_out(cluster.nodes))

    async def _services(
        self, client: KubeClient, cluster: KubeView
    ) -> tuple[tuple[Trial, ...], tuple[Outcome, ...]]:
        """Return what to try of services. One of our own is made where somebody translates it."""
        own = f"{self._namespace}/{SERVICE}"
        is_served = any(one.name.startswith("kube-proxy") for one in cluster.pods)
        unserved = "" if is_served else "no pod kube-proxy-… runs: nobody translates services"
        if is_served:
            await client.create(
                SERVICES, service_manifest(self._namespace), namespace=self._namespace
            )
            cluster = await self._until(lambda view: _has_endpoints(view, own))
        return service_trials(cluster.services, cluster.nodes, own=own, unserved=unserved)

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
        self, manifests: Sequence[dict[str, Any]], is_there: Callable[[KubePod], bool]
    ) -> tuple[list[KubePod], tuple[Outcome, ...]]:
        """Return the pods that are there, after the timeout at the latest, and who is not."""
        nodes = {one["metadata"]["name"]: one["spec"]["nodeName"] for one in manifests}

        def there(view: KubeView) -> list[KubePod]:
            ours = (one for one in view.pods if one.namespace == self._namespace)
            return [one for one in ours if one.name in nodes and is_there(one) and one.addresses]

        view = await self._until(lambda view: len(there(view)) == len(nodes))
        found = there(view)
        late = sorted(nodes.keys() - {one.name for one in found})
        look = f"kubectl -n {self._namespace} describe pod NAME (with --keep)"
        error = f"not up within {self._timeout_s:g} s; terway-cli events on the node, or {look}"
        return found, tuple(
            Outcome(source=f"pod on {nodes[one]}", to=f"({one})", what="tcp", error=error)
            for one in late
        )

    async def _until(self, is_so: Callable[[KubeView], bool]) -> KubeView:
        """Return the cluster once it is so, or as it is after the timeout."""
        end = time.monotonic() + self._timeout_s
        while True:
            view = await read_kube(self._place, everything=True)
            if is_so(view) or time.monotonic() > end:
                return view
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


def _has_endpoints(view: KubeView, name: str) -> bool:
    return any(str(one) == name and one.endpoints for one in view.services)


def _say(text: str) -> None:
    click.echo(f"{text} …", err=True)
