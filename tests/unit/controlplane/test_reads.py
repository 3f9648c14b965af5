"""A collection that cannot be listed holds up the controllers that read it, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from aiohttp.test_utils import TestClient, TestServer

from terway.controlplane.clusterconf import ClusterConf, follow_conf
from terway.controlplane.config import CONTROLLERS, Config, parse_config
from terway.controlplane.context import Context, Endpoints, Parts
from terway.controlplane.controller import DONE, Outcome, Watch, own_key
from terway.controlplane.health import health_app
from terway.controlplane.informers import SharedInformers
from terway.controlplane.manager import Worker, run_controllers
from terway.controlplane.metrics import Metrics
from terway.controlplane.reads import made_alone, who_waits
from terway.controlplane.registry import make_parts
from terway.kube.client import Listing
from terway.kube.resource import CONFIG_MAPS, NODES, ObjectKey, Resource
from terway.kube.types import ConfigMap, Node
from terway.model.ids import RegionId
from tests.support.kube_story import KubeStory, named
from tests.support.virtual_time import run_virtually


class Lacking(KubeStory):
    """An API server that lists config maps only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.has_right = asyncio.Event()

    async def list(self, resource: Resource[Any], **options: Any) -> Listing[Any]:
        """As KubeStory.list."""
        if resource == CONFIG_MAPS:
            await self.has_right.wait()
        return await super().list(resource, **options)


class Looking:
    """A controller that notes what it looked at."""

    concurrency = 1

    def __init__(self, name: str, watched: Resource[Any], informers: SharedInformers) -> None:
        self.name = name
        self.watches: tuple[Watch, ...] = (Watch(resource=watched, keys_of=own_key),)
        self.looked: asyncio.Queue[str] = asyncio.Queue()

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Note it."""
        self.looked.put_nowait(key.name)
        return DONE


class World:
    """Two parts: one reads nodes, the other config maps also, and has a controller by itself."""

    def __init__(self) -> None:
        self.story = Lacking()
        self.story.put(NODES, Node(metadata=named("n")))
        self.story.put(CONFIG_MAPS, ConfigMap(metadata=named("c", namespace="x")))
        self.informers = SharedInformers(cast("Any", self.story), rng=Random(1))
        self.of_nodes = Looking("nodes", NODES, self.informers)
        self.by_conf = Looking("by-conf", NODES, self.informers)
        self.by_itself, self.itself_reads = made_alone(
            self.informers, lambda: Looking("by-itself", NODES, self.informers)
        )
        self.served, self.collected = asyncio.Event(), asyncio.Event()
        self.working: list[str] = []
        context: Any = SimpleNamespace(informers=self.informers)
        factories = {"a": self._nodes, "b": self._conf}
        self.parts = make_parts(("a", "b"), context, factories=factories)

    def _nodes(self, context: Context) -> Parts:
        return Parts(controllers=(self.of_nodes,))

    def _conf(self, context: Context) -> Parts:
        context.informers.of(CONFIG_MAPS)
        return Parts(
            controllers=(self.by_conf, self.by_itself),
            loops=(_setting(self.served),),
            late_loops=(_setting(self.collected),),
            reads={"by-itself": self.itself_reads},
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run everything for the time of the block."""
        work = run_controllers(
            self.parts.controllers,
            self.informers,
            rng=Random(1),
            started=self._started,
            reads=self.parts.reads,
        )
        async with asyncio.TaskGroup() as tasks:
            loops = (self.informers.run, *self.parts.loops)
            running = [tasks.create_task(cast("Any", one())) for one in loops]
            running.append(tasks.create_task(work))
            yield
            for one in running:
                one.cancel()

    def _started(self, workers: Any) -> None:
        self.working += [one.name for one in cast("list[Worker]", workers)]


def _setting(event: asyncio.Event) -> Callable[[], Any]:
    async def loop() -> None:
        event.set()

    return loop


def test_a_controller_waits_for_the_collections_that_it_reads_and_for_no_others():
    async def main() -> None:
        world = World()
        async with world.running():
            assert await world.of_nodes.looked.get() == "n"
            assert await world.by_itself.looked.get() == "n"
            await asyncio.sleep(3600)
            assert world.by_conf.looked.empty()
            assert sorted(world.working) == ["by-itself", "nodes"]

            world.story.has_right.set()

            assert await world.by_conf.looked.get() == "n"
            assert sorted(world.working) == ["by-conf", "by-itself", "nodes"]

    run_virtually(main())


def test_what_nobody_owns_is_not_collected_before_all_owners_are_listed():
    """Else a missing right would be taken for a cluster without pods, and their ENIs for waste."""

    async def main() -> None:
        world = World()
        async with world.running():
            await world.served.wait()
            await asyncio.sleep(3600)
            assert not world.collected.is_set()

            world.story.has_right.set()

            await world.collected.wait()

    run_virtually(main())


def test_who_waits_is_told_with_what_for():
    async def main() -> None:
        world = World()
        assert len(who_waits(world.parts.reads)) == 3
        async with world.running():
            await world.of_nodes.looked.get()
            assert who_waits(world.parts.reads) == ("by-conf waits for configmaps",)
            world.story.has_right.set()
            await world.by_conf.looked.get()
            assert who_waits(world.parts.reads) == ()

    run_virtually(main())


async def test_health_says_who_waits_and_stays_ready_for_admission():
    app = health_app(tuple, lambda: ("service waits for services",))
    async with TestClient(TestServer(app)) as asked, asked.get("/readyz") as answer:
        assert answer.status == 200
        assert await answer.text() == "ok\nservice waits for services\n"


def test_each_controller_of_ours_waits_for_what_it_reads():
    text = "{regionID: r, clusterID: c, vpcID: vpc-1, centralizedIPAM: true, ipStack: ipv4}"
    config, _ = parse_config(text)
    informers = SharedInformers(cast("Any", None), rng=Random(1))
    parts = make_parts(CONTROLLERS, _context(config, informers))

    ours = ".network.alibabacloud.com"
    records = {f"podenis{ours}", f"networkinterfaces{ours}"}
    pools = {f"nodes{ours}", f"noderuntimes{ours}", "pods", *records}
    around = {"pods", "nodes", "namespaces", "configmaps", f"podnetworkings{ours}"}
    behind = {"services", "endpointslices.discovery.k8s.io", "pods", "configmaps"}
    assert {name: set(asked.unsynced) for name, asked in parts.reads.items()} == {
        "node": {"nodes", f"nodes{ours}"},
        "multi-ip-node": pools,
        **dict.fromkeys(("pod", "pod-eni", "eni"), records | around),
        "pod-networking": {f"podnetworkings{ours}"},
        "service": {*behind, f"nodes{ours}", f"podenis{ours}"},
    }


def _context(config: Config, informers: SharedInformers) -> Context:
    none = cast("Any", None)  # nothing is called before a controller runs
    return Context(
        config=config,
        client=none,
        informers=informers,
        eni_config=ClusterConf(
            follow_conf(informers, config.namespace), namespace=config.namespace
        ),
        openapi=none,
        region_id=RegionId("r"),
        endpoints=Endpoints(ecs="", vpc="", slb="", nlb=""),
        cloud=none,
        budget=none,
        events=none,
        metrics=Metrics(),
        degradation=none,
        clock=lambda: 0.0,
        monotonic=lambda: 0.0,
        rng=Random(1),
        token_seed="",
    )
