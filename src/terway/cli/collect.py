"""How does a live node become a snapshot? A source that is silent does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click

from terway.cli import read_node
from terway.cli.place import Place, find_guests
from terway.cli.read_central import central_view, read_resources
from terway.cli.read_cloud import open_cloud, open_metadata, read_cloud, read_instance
from terway.cli.read_ebpf import read_datapath
from terway.cli.read_host import read_host, read_programs
from terway.cli.read_kernel import Question, read_kernel
from terway.cli.read_kube import read_kube
from terway.cli.read_services import FrontendQuestion
from terway.cli.snapshot import (
    CloudView,
    HostView,
    InstanceView,
    JournalView,
    Missing,
    Snapshot,
)
from terway.cli.snapshot_ebpf import DataPathView
from terway.cli.snapshot_policy import PolicyView
from terway.config.agent_config import AgentConfig
from terway.model.address import IPAddress
from terway.model.errors import VpcError

T = TypeVar("T")

ALL = frozenset({"journal", "agent", "config", "kernel", "instance", "cloud", "kubernetes", "ebpf"})
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command needs. `look_at`, `questions` and `frontends` come of what is known by then.

    `read_policy` is given by who wants policies: it brings a compiler, 0.2 s of imports.
    """

    sources: Collection[str] = ALL
    everything_of_kube: bool = False
    deep_cloud: bool = False
    probes: bool = False  # what only doctor asks: permissions, clocks, features
    read_policy: Callable[[Place, AgentConfig | None], Awaitable[PolicyView]] | None = None
    look_at: Callable[[Snapshot], Iterable[IPAddress]] = lambda _: ()
    questions: Callable[[Snapshot], Iterable[Question]] = lambda _: ()
    frontends: Callable[[Snapshot], Iterable[FrontendQuestion]] = lambda _: ()


class _Collector:
    """Reads source after source, or some at once, and keeps why one failed."""

    def __init__(self, place: Place, wanted: Wanted) -> None:
        self._place = place
        self._wanted = wanted
        self._busy: set[str] = set()
        self.snapshot = Snapshot(
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            node_name=place.node_name,
            version=version("terway"),
            guests=find_guests(Path("/proc")),
        )

    async def run(self) -> Snapshot:
        async with asyncio.TaskGroup() as tasks:
            progress = tasks.create_task(self._tell())
            await self._read_all()
            progress.cancel()
        return self.snapshot

    async def _read_all(self) -> None:
        place = self._place
        config = await self._config()
        async with asyncio.TaskGroup() as tasks:
            for source, reading in (
                ("journal", lambda: asyncio.to_thread(read_node.read_journal_view, place)),
                ("agent", lambda: asyncio.to_thread(read_node.read_agent, place)),
                ("config", lambda: asyncio.to_thread(read_node.read_config, place)),
                ("instance", self._instance),
                ("kubernetes", self._kube),
            ):
                tasks.create_task(self._take(source, reading))
        await self._take("ebpf", partial(asyncio.to_thread, self._datapath))
        # What is known by now says about which addresses and packets the others are asked.
        asked, questions = self._ask()
        journal = self.snapshot.journal or JournalView()
        async with asyncio.TaskGroup() as tasks:
            leads = self.snapshot.ebpf is not None and self.snapshot.ebpf.does_services
            read = partial(read_kernel, journal, config, questions, leads_services=leads)
            kernel = partial(asyncio.to_thread, read)
            tasks.create_task(self._take("kernel", kernel))
            tasks.create_task(self._take("cloud", lambda: self._cloud(config, asked)))
            host = self._host if self._wanted.probes else self._programs
            tasks.create_task(self._take("host", partial(host, config), always=True))
            if self._wanted.read_policy is not None:
                policy = partial(self._wanted.read_policy, place, config)
                tasks.create_task(self._take("policy", policy, always=True))

    def _datapath(self) -> DataPathView | None:
        journal = self.snapshot.journal or JournalView()
        try:
            asked = tuple(self._wanted.frontends(self.snapshot))
        except VpcError:
            asked = ()  # the command will refuse
        return read_datapath(
            journal.attachments, asked, counts=self._wanted.probes, pins=self._place.pins
        )

    def _ask(self) -> tuple[tuple[IPAddress, ...], tuple[Question, ...]]:
        """Return what to ask the cloud and the kernel; nothing when the command will refuse."""
        try:
            asked = tuple(self._wanted.look_at(self.snapshot))
            return asked, tuple(self._wanted.questions(self.snapshot))
        except VpcError:
            return (), ()

    async def _take(
        self, source: str, read: Callable[[], Awaitable[Any]], *, always: bool = False
    ) -> None:
        if source not in self._wanted.sources and not always:
            return
        self._busy.add(source)
        try:
            part = await read()
        except VpcError as error:
            self._miss(source, str(error))
        except OSError as error:
            self._miss(source, f"{error.strerror or error}; run it as root on the node")
        else:
            self.snapshot = replace(self.snapshot, **{source: part})
        finally:
            self._busy.discard(source)

    def _miss(self, source: str, reason: str) -> None:
        missing = (*self.snapshot.missing, Missing(source=source, reason=reason))
        self.snapshot = replace(self.snapshot, missing=missing)

    async def _config(self) -> AgentConfig | None:
        try:
            return await asyncio.to_thread(read_node.read_agent_config, self._place)
        except (VpcError, OSError):
            return None  # the view of it says why

    async def _instance(self) -> InstanceView:
        async with open_metadata(self._place) as metadata:
            return await read_instance(metadata)

    async def _kube(self) -> Any:
        return await read_kube(self._place, everything=self._wanted.everything_of_kube)

    async def _cloud(self, config: AgentConfig | None, asked: Iterable[IPAddress]) -> CloudView:
        instance = self.snapshot.instance
        if instance is None:
            instance = await self._instance()
        if config is not None and config.eni.is_centralized and self._place.access_key is None:
            return central_view(await read_resources(self._place), instance)
        async with open_cloud(
            self._place, config.eni if config else None, instance.region_id
        ) as cloud:
            return await read_cloud(cloud, instance, asked=asked, deep=self._wanted.deep_cloud)

    async def _host(self, config: AgentConfig | None) -> HostView:
        instance = self.snapshot.instance
        async with AsyncExitStack() as stack:
            cloud = None
            if instance is not None:
                conf = config.eni if config else None
                opening = open_cloud(self._place, conf, instance.region_id, own_keys=False)
                cloud = await stack.enter_async_context(opening)
            # The control plane calls the cloud for a node whose pool is central: it may nothing.
            is_central = config is not None and config.eni.is_centralized
            return await read_host(self._place, cloud, asks_cloud=not is_central)

    async def _programs(self, _config: AgentConfig | None) -> HostView:
        return await asyncio.to_thread(read_programs)

    async def _tell(self) -> None:
        """Say after a second, and every two, what is still awaited."""
        await asyncio.sleep(_PATIENCE_S)
        while True:
            if self._busy:
                click.echo(f"reading {', '.join(sorted(self._busy))} …", err=True)
            await asyncio.sleep(2 * _PATIENCE_S)


async def collect(place: Place, wanted: Wanted) -> Snapshot:
    """Return what can be known of the node now. Takes a second or two; changes nothing."""
    return await _Collector(place, wanted).run()
