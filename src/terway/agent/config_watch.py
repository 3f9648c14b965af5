"""Which configuration is wanted now? The ConfigMaps as the API server has them, else the files.

    Node ──label terway-config──► the node's own ConfigMap ──┐
    ConfigMap eni-config (not there: /etc/eni) ──────────────┴──► offered at each change

The kubelet projects a ConfigMap into files about a minute late. Where there is no API server, or
eni-config has another name there, the files are looked at now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random

import structlog

from terway.agent.node_config import LABEL, KeptPatch, missing_own_part, read_files
from terway.agent.reload import Reloader
from terway.config.keys_map import ENI_CONF
from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.informer import Informer
from terway.kube.resource import CONFIG_MAPS, NODES
from terway.kube.types import ConfigMap, Node
from terway.model.errors import UsageError
from terway.model.ids import NodeName

CONFIG_MAP = "eni-config"
FILES_PERIOD_S = 15.0

_log = structlog.get_logger("config")


class FilesWatch:
    """Offers what the files say, now and then: for a terwayd without an API server."""

    def __init__(self, reloader: Reloader, config: Path, kept: KeptPatch) -> None:
        self._reloader = reloader
        self._config = config
        self._kept = kept

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(FILES_PERIOD_S)
            self.look()

    def look(self) -> None:
        """Offer what the files say now."""
        files = self.read()
        if files is not None:
            self._reloader.offer(files, self._kept.read())

    def read(self) -> Mapping[str, str] | None:
        """Return the files; None while they are being replaced."""
        try:
            return read_files(self._config)
        except (UsageError, OSError) as error:
            _log.info("config.files_unreadable", error=str(error))
            return None


class ConfigWatch:
    """Offers what the API server has, and falls back to the files."""

    def __init__(
        self,
        client: KubeClient,
        node: NodeName,
        reloader: Reloader,
        *,
        namespace: str,
        config: Path,
        kept: KeptPatch,
    ) -> None:
        self._client = client
        self._node = node
        self._reloader = reloader
        self._namespace = namespace
        self._kept = kept
        self._files = FilesWatch(reloader, config, kept)
        self._rng = Random()  # noqa: S311 - waits are drawn from it, not secrets
        self._nodes: Informer[Node] = Informer(
            client, NODES, backoff=Backoff(self._rng), selector=_named(node)
        )
        self._common = self._config_map(CONFIG_MAP)
        self._own: tuple[str, Informer[ConfigMap]] | None = None
        self._changed = asyncio.Event()
        self._renamed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(self._nodes, self._renamed), name="config of node")
            tasks.create_task(self._follow(self._common, self._changed), name="config of all")
            tasks.create_task(self._follow_own(), name="own config")
            while True:
                self._look()
                try:
                    async with asyncio.timeout(FILES_PERIOD_S):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # only the files may have changed unheard
                self._changed.clear()

    def _config_map(self, name: str) -> Informer[ConfigMap]:
        return Informer(
            self._client,
            CONFIG_MAPS,
            backoff=Backoff(self._rng),
            namespace=self._namespace,
            selector=_named(name),
        )

    async def _follow(
        self, informer: Informer[Node] | Informer[ConfigMap], heard: asyncio.Event
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_run(informer))
            await informer.synced.wait()
            heard.set()
            with informer.subscribe() as changes:
                async for _ in changes:
                    heard.set()

    async def _follow_own(self) -> None:
        """Follow the ConfigMap that the node's label names, whichever that is."""
        while True:
            name = self._own_name()
            self._own = (name, self._config_map(name)) if name else None
            self._changed.set()
            async with asyncio.TaskGroup() as tasks:
                following = (
                    tasks.create_task(self._follow(self._own[1], self._changed))
                    if self._own
                    else None
                )
                while self._own_name() == name:
                    await self._renamed.wait()
                    self._renamed.clear()
                    self._changed.set()
                if following:
                    following.cancel()

    def _own_name(self) -> str:
        node = self._nodes.get(self._node)
        return node.metadata.labels.get(LABEL, "") if node else ""

    def _look(self) -> None:
        """Offer what is wanted now, as far as it is known."""
        if not self._nodes.synced.is_set() or not self._common.synced.is_set():
            self._files.look()
            return
        common = self._common.get(CONFIG_MAP, namespace=self._namespace)
        files = common.data if common else self._files.read()
        try:
            patch = self._patch()
        except UsageError as error:
            self._reloader.refuse(str(error))
            return
        except LookupError:
            return  # not heard of yet
        if files is not None and self._reloader.offer(files, patch) and patch != self._kept.read():
            self._kept.write(patch)

    def _patch(self) -> str | None:
        """Return the node's own part. UsageError when the label leads nowhere."""
        name = self._own_name()
        if not name:
            return None
        if self._own is None or self._own[0] != name or not self._own[1].synced.is_set():
            raise LookupError(name)
        own = self._own[1].get(name, namespace=self._namespace)
        if own is None or ENI_CONF not in own.data:
            raise missing_own_part(self._node, self._namespace, name)
        return own.data[ENI_CONF]


def _named(name: str) -> Selector:
    return Selector(fields=f"metadata.name={name}")


async def _run(informer: Informer[Node] | Informer[ConfigMap]) -> None:
    try:
        await informer.run()
    except UsageError as error:
        # Not allowed to watch: what the kubelet projects is still there.
        _log.warning("config.watch_refused", error=str(error))
