"""The whole process against an API server: who works, what is installed, what is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from terway.controlplane.context import Context, Factory, Parts
from terway.controlplane.controller import DONE, Outcome, Watch, own_key
from terway.controlplane.install import CRDS
from terway.controlplane.options import Options, parse_options
from terway.controlplane.process import Process, run
from terway.controlplane.watched import WATCHED_NODES
from terway.kube.client import KubeClient
from terway.kube.resource import LEASES, NODES, ObjectKey, Resource
from terway.kube.types import Node, ObjectMeta
from terway.model.errors import UsageError
from tests.support.cluster import make_cluster
from tests.support.kube_server import KubeServer, open_kube_server

HEALTH_PORT = 18085
THINGS: Resource[dict[str, Any]] = Resource(
    group="example.com",
    version="v1",
    plural="things",
    kind="Thing",
    namespaced=False,
    read_as=dict[str, Any],
)


def crd_of(resource: Resource[Any]) -> dict[str, Any]:
    """Return a definition that lets anything be an object of `resource`."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": resource.version, "served": True, "storage": True}
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Cluster",
            "names": {"kind": resource.kind, "plural": resource.plural, "singular": "thing"},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


class Listener:
    """A controller that tells which instance looked at which node."""

    concurrency = 2
    watches: tuple[Watch, ...] = (Watch(resource=WATCHED_NODES, keys_of=own_key),)

    def __init__(
        self, looks: asyncio.Queue[tuple[str, str]], who: str, *, name: str = "told"
    ) -> None:
        self.name = name
        self._looks = looks
        self._who = who

    async def reconcile(self, key: ObjectKey) -> Outcome:
        self._looks.put_nowait((self._who, key.name))
        return DONE


class Instance:
    """One process of the control plane, within this one."""

    def __init__(self, server: KubeServer, folder: Path, name: str, **config: object) -> None:
        self.looks: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.stop = asyncio.Event()
        self._options = options_for(server, folder, name, **config)
        self._name = name

    def _make(self, context: Context) -> Parts:
        return Parts(controllers=(Listener(self.looks, self._name),))

    def make_waiting(self, context: Context) -> Parts:
        """Make a controller that reads what is not there."""
        context.informers.of(THINGS)
        return Parts(controllers=(Listener(self.looks, "waiting", name="waiting"),))

    async def run(self, **more: Factory) -> None:
        await run(self._options, self.stop, factories={"pod": self._make, **more})


def options_for(server: KubeServer, folder: Path, name: str, **config: object) -> Options:
    """Write the files that a process is told by, and return its options."""
    said = {
        "regionID": "cn-lab",
        "clusterID": "c1",
        "vpcID": "vpc-1",
        "leaderElection": True,
        "leaseDuration": "15s",
        "renewDeadline": "10s",
        "retryPeriod": "100ms",
        "healthzBindAddress": "0",
        "disableWebhook": True,
        **config,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(said))
    argv = ("--config", str(path), "--credential", str(folder / "none"))
    environ = {"KUBECONFIG": str(server.kubeconfig), "POD_NAME": name}
    return parse_options(argv, environ)


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[KubeServer, KubeClient]]:
    async with (
        open_kube_server(make_cluster(), tmp_path) as server,
        KubeClient(server.unix) as client,
    ):
        yield server, client


async def test_a_process_installs_its_resources_and_looks_at_what_is_there(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n9")))
        one = Instance(server, tmp_path, "one")
        tasks.create_task(one.run())

        while (await one.looks.get()) != ("one", "n9"):
            pass

        assert await client.get(CRDS, "podenis.network.alibabacloud.com") is not None
        one.stop.set()


async def test_of_two_one_works_and_the_other_takes_over_when_it_stops(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n9")))
        one, two = (Instance(server, tmp_path, name) for name in ("one", "two"))
        tasks.create_task(one.run())
        await one.looks.get()
        tasks.create_task(two.run())
        lease = await client.get(LEASES, "terway-controller-lock", namespace="kube-system")
        assert lease is not None
        assert lease.spec.holder_identity == "one"
        assert two.looks.empty()

        one.stop.set()

        assert (await two.looks.get())[0] == "two"
        two.stop.set()


async def test_a_probe_and_a_scrape_are_answered(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n9")))
        one = Instance(
            server,
            tmp_path,
            "one",
            healthzBindAddress=f"127.0.0.1:{HEALTH_PORT}",
            metricsBindAddress=f"127.0.0.1:{HEALTH_PORT + 1}",
        )
        tasks.create_task(one.run())
        await one.looks.get()
        async with aiohttp.ClientSession() as session:
            pages = {}
            for port, path in ((0, "healthz"), (0, "readyz"), (1, "metrics")):
                url = f"http://127.0.0.1:{HEALTH_PORT + port}/{path}"
                async with session.get(url) as answer:
                    assert answer.status == 200
                    pages[path] = await answer.text()

        assert "leader_election_master_status 1.0" in pages["metrics"]
        assert 'workqueue_depth{controller="told"}' in pages["metrics"]
        told = 'terway_controlplane_config_info{controller="told",max_concurrent="2"} 1.0'
        assert told in pages["metrics"]
        assert "# TYPE rate_limiter_latency histogram" in pages["metrics"]
        assert "# TYPE terway_eni_attach_duration_seconds histogram" in pages["metrics"]
        assert 'terway_controlplane_objects{collection="nodes"}' in pages["metrics"]
        one.stop.set()


async def test_controllers_work_and_health_says_so_while_one_waits_for_a_crd(tmp_path):
    async with serving(tmp_path) as (server, client), asyncio.TaskGroup() as tasks:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n9")))
        one = Instance(server, tmp_path, "one", healthzBindAddress=f"127.0.0.1:{HEALTH_PORT + 2}")
        tasks.create_task(one.run(eni=one.make_waiting))
        assert await one.looks.get() == ("one", "n9")
        url = f"http://127.0.0.1:{HEALTH_PORT + 2}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            assert await answer.text() == "ok\nwaiting waits for things.example.com\n"

        await client.create(CRDS, crd_of(THINGS))

        assert await one.looks.get() == ("waiting", "n9")
        one.stop.set()


async def test_a_configuration_that_cannot_be_ends_the_process_with_the_reason(tmp_path):
    async with serving(tmp_path) as (server, _):
        options = options_for(server, tmp_path, "one", vpcID="")

        with pytest.raises(UsageError, match=r"ctrl-config\.vpcID"):
            await run(options, asyncio.Event())


def test_what_is_missing_is_what_the_parts_say():
    process = object.__new__(Process)
    process.unready = [lambda: ["the certificate"], list]

    assert process.missing() == ("the certificate",)
