"""What the ConfigMaps say is offered when they change; without them, what the files say."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

from terway.agent.config_watch import ConfigWatch, FilesWatch
from terway.agent.node_config import KeptPatch
from terway.agent.reload import Reloader
from terway.config.agent_config import parse_agent_config
from terway.kube.resource import CONFIG_MAPS, NODES
from terway.kube.types import ConfigMap, Node, ObjectMeta
from terway.model.ids import NodeName
from tests.support.cluster import make_cluster
from tests.support.kube_server import open_client

SYSTEM = "kube-system"


def files(**keys):
    return {"eni_conf": json.dumps(keys), "10-terway.conf": '{"type": "terway"}'}


def config_map(name, data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=SYSTEM), data=data)


class Scene:
    """A node's watch over an API server, and what it makes of the configuration."""

    def __init__(self, client, folder):
        self.client = client
        self.folder = folder / "eni"
        self.folder.mkdir()
        self.kept = KeptPatch(folder / "own.json")
        self.write(max_pool_size=5)
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.reloader = Reloader(
            parse_agent_config(files(max_pool_size=5)),
            check=lambda _: None,
            apply=lambda config: self.heard.put_nowait(f"max {config.eni.max_pool_size}"),
            tell=self._tell,
        )

    def _tell(self, type_, reason, message):
        if reason == "ConfigError":
            self.heard.put_nowait(message)

    def write(self, **keys):
        for name, text in files(**keys).items():
            (self.folder / name).write_text(text)

    async def next(self):
        async with asyncio.timeout(10):
            return await self.heard.get()

    @asynccontextmanager
    async def watching(self):
        watch = ConfigWatch(
            self.client,
            NodeName("n1"),
            self.reloader,
            namespace=SYSTEM,
            config=self.folder / "eni_conf",
            kept=self.kept,
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watch.run())
            yield
            running.cancel()


async def test_the_common_and_the_nodes_own_config_map_are_followed(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n1")))
        await client.create(CONFIG_MAPS, config_map("eni-config", files(max_pool_size=6)))
        scene = Scene(client, tmp_path)
        async with scene.watching():
            assert await scene.next() == "max 6"

            data = {"data": {"eni_conf": json.dumps({"max_pool_size": 7})}}
            await client.patch(CONFIG_MAPS, "eni-config", data, namespace=SYSTEM)
            assert await scene.next() == "max 7"

            label = {"metadata": {"labels": {"terway-config": "mine"}}}
            await client.patch(NODES, "n1", label)
            missing = await scene.next()
            assert "terway-config=mine, but there is no ConfigMap kube-system/mine" in missing

            own = config_map("mine", {"eni_conf": '{"max_pool_size": 9}'})
            await client.create(CONFIG_MAPS, own)
            assert await scene.next() == "max 9"
            assert scene.kept.read() == '{"max_pool_size": 9}'

            gone = {"metadata": {"labels": {"terway-config": None}}}
            await client.patch(NODES, "n1", gone)
            assert await scene.next() == "max 7"
            assert scene.kept.read() is None


async def test_a_bad_config_map_is_refused_and_a_mended_one_followed(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n1")))
        await client.create(CONFIG_MAPS, config_map("eni-config", files(max_pool=6)))
        scene = Scene(client, tmp_path)
        async with scene.watching():
            assert "did you mean max_pool_size" in await scene.next()

            data = {"data": files(max_pool_size=6)}
            await client.patch(CONFIG_MAPS, "eni-config", data, namespace=SYSTEM)
            assert await scene.next() == "max 6"


async def test_without_the_config_map_the_files_count(tmp_path):
    async with open_client(make_cluster(), tmp_path) as client:
        await client.create(NODES, Node(metadata=ObjectMeta(name="n1")))
        scene = Scene(client, tmp_path)
        scene.write(max_pool_size=8)
        async with scene.watching():
            assert await scene.next() == "max 8"


def test_files_that_are_being_replaced_change_nothing(tmp_path):
    scene = Scene(None, tmp_path)
    watch = FilesWatch(scene.reloader, scene.folder / "eni_conf", scene.kept)

    scene.write(max_pool_size=8)
    watch.look()
    (scene.folder / "eni_conf").unlink()
    watch.look()

    assert scene.heard.qsize() == 1
    assert scene.reloader.state.error == ""
