"""How does a container runtime call CNI? The exec protocol, chains, results, as libcni does it.

One program run per plugin and verb; environment and stdin in, stdout and exit status out (X1-X3).
No two operations on one container at a time (L2): the caller, a pod's worker, sees to that.
GC excludes the others (G6): a lock here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from terway.lab.kubelet.cnicache import CachedResult, ResultCache
from terway.lab.kubelet.netconf import (
    CONF_SUFFIXES,
    NetworkList,
    Plugin,
    network_name,
    parse_network,
    plugin_stdin,
)
from terway.lab.kubelet.plugin import run_plugin
from terway.model.errors import TransientError, UsageError, VpcError

CONF_DIR = Path("/etc/cni/net.d")
BIN_DIR = Path("/opt/cni/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """What an ADD is about. `args` become CNI_ARGS, `runtime` capability arguments."""

    container_id: str
    netns: str
    ifname: str = "eth0"
    args: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)


class CniNetwork:
    """The node's default CNI network: the first valid file of the configuration folder."""

    def __init__(
        self,
        *,
        conf_dir: Path = CONF_DIR,
        bin_dir: Path = BIN_DIR,
        cache: ResultCache | None = None,
    ) -> None:
        self._conf_dir = conf_dir
        self._bin_dir = bin_dir
        self._cache = cache or ResultCache()
        self._running = 0
        self._idle = asyncio.Condition()
        self._collecting = False

    def load(self) -> NetworkList:
        """Return the network as configured now. Raises UsageError when there is none."""
        trouble = ""
        for path in sorted(self._conf_dir.glob("*")):
            if path.suffix not in CONF_SUFFIXES:
                continue
            try:
                return _load(path)
            except (UsageError, OSError) as error:
                trouble = f": {path.name}: {error}"
        raise UsageError(f"no networks found in {self._conf_dir}{trouble}")

    async def add(self, attach: Attach) -> dict[str, Any]:
        """Run the chain and return its final result, which is cached.

        After a failure the chain has been called with DEL (A6, D6), and the first error is raised.
        """
        network = self.load()
        entry = CachedResult(
            network=network.name,
            container_id=attach.container_id,
            ifname=attach.ifname,
            netns=attach.netns,
            config=network.source,
            cni_args=attach.args,
            runtime=attach.runtime,
        )
        async with self._shared():
            self._cache.put(entry)  # before the first plugin: a crash must not hide the attempt
            try:
                result = await self._add_chain(network, entry)
            except VpcError:
                with suppress(VpcError):
                    await self._del_chain(network, entry)
                raise
            self._cache.put(replace(entry, result=result))
            return result

    async def delete(self, container_id: str, netns: str, *, ifname: str = "eth0") -> None:
        """Undo an attachment; success when there is nothing to undo.

        Uses the configuration that ADD used (L3). Raises what the first failing plugin says; the
        attachment stays cached then, and DEL is to be called again.
        """
        entry = self._cache.find(container_id, ifname)
        if entry is None:
            return
        network = parse_network(entry.config)
        async with self._shared():
            await self._del_chain(network, replace(entry, netns=netns))
            self._cache.remove(entry.network, container_id, ifname)

    async def check(self, container_id: str, *, ifname: str = "eth0") -> None:
        """Run CHECK through the chain; stops at the first error (K9). Nothing before an ADD."""
        network = self.load()
        entry = self._cache.get(network.name, container_id, ifname)
        if entry is None or entry.result is None:
            return
        if network.disable_check or not network.has("CHECK"):
            return
        async with self._shared():
            for plugin in network.plugins:
                await self._execute("CHECK", network, plugin, entry, prev_result=entry.result)

    async def collect(self, list_valid: Callable[[], Collection[tuple[str, str]]]) -> None:
        """Run GC with the full list of valid (container id, ifname) pairs (G6).

        The list is asked for when no ADD is under way: it would not have its attachment. Stale
        attachments in the cache get a DEL first, as libcni does it.
        """
        network = self.load()
        if network.disable_gc:
            return
        async with self._exclusive():
            valid = list_valid()
            for entry in list(self._cache.of_network(network.name)):
                if (entry.container_id, entry.ifname) not in valid:
                    await self._del_chain(parse_network(entry.config), entry)
                    self._cache.remove(entry.network, entry.container_id, entry.ifname)
            if not network.has("GC"):
                return
            pairs = [{"containerID": one, "ifname": ifname} for one, ifname in sorted(valid)]
            extra = {"cni.dev/valid-attachments": pairs, "cni.dev/attachments": pairs}
            errors: list[VpcError] = []
            for plugin in network.plugins:
                try:
                    await self._execute("GC", network, plugin, None, extra=extra)
                except VpcError as error:  # the others have garbage of their own
                    errors.append(error)
        if errors:
            raise TransientError("; ".join(str(error) for error in errors))

    async def status(self) -> None:
        """Raise what the first plugin that is not ready says. A chain below 1.1.0 is ready."""
        network = self.load()
        if network.has("STATUS"):
            for plugin in network.plugins:
                await self._execute("STATUS", network, plugin, None)

    async def _add_chain(self, network: NetworkList, entry: CachedResult) -> dict[str, Any]:
        result: dict[str, Any] | None = None
        for plugin in network.plugins:
            output = await self._execute("ADD", network, plugin, entry, prev_result=result)
            result = _result(output, plugin)
        assert result is not None, "a network has plugins"
        return result

    async def _del_chain(self, network: NetworkList, entry: CachedResult) -> None:
        previous = entry.result if network.has("CHECK") else None  # since 0.4.0, like CHECK
        for plugin in reversed(network.plugins):
            await self._execute("DEL", network, plugin, entry, prev_result=previous)

    async def _execute(
        self,
        verb: str,
        network: NetworkList,
        plugin: Plugin,
        entry: CachedResult | None,
        *,
        prev_result: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bytes:
        runtime = entry.runtime if entry else None
        stdin = plugin_stdin(network, plugin, runtime=runtime, prev_result=prev_result, extra=extra)
        env = _environment(verb, entry, self._bin_dir)
        return await run_plugin(self._find(plugin), env, stdin, what=f"{plugin.type} {verb}")

    def _find(self, plugin: Plugin) -> Path:
        path = self._bin_dir / plugin.type
        if not path.exists():
            raise UsageError(f"failed to find plugin {plugin.type!r} in path [{self._bin_dir}]")
        return path

    @asynccontextmanager
    async def _shared(self) -> AsyncIterator[None]:
        async with self._idle:
            await self._idle.wait_for(lambda: not self._collecting)
            self._running += 1
        try:
            yield
        finally:
            async with self._idle:
                self._running -= 1
                self._idle.notify_all()

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        async with self._idle:
            await self._idle.wait_for(lambda: not self._collecting)
            self._collecting = True
            await self._idle.wait_for(lambda: self._running == 0)
        try:
            yield
        finally:
            async with self._idle:
                self._collecting = False
                self._idle.notify_all()


def _environment(verb: str, entry: CachedResult | None, bin_dir: Path) -> dict[str, str]:
    env = {**os.environ, "CNI_COMMAND": verb, "CNI_PATH": str(bin_dir)}
    if entry is not None:
        env |= {
            "CNI_CONTAINERID": entry.container_id,
            "CNI_NETNS": entry.netns,
            "CNI_IFNAME": entry.ifname,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in entry.cni_args.items()),
        }
    return env


def _result(output: bytes, plugin: Plugin) -> dict[str, Any]:
    try:
        result = json.loads(output)
    except ValueError as error:
        raise TransientError(f"plugin {plugin.type} ADD: result is not JSON: {error}") from error
    if not isinstance(result, dict):
        raise TransientError(f"plugin {plugin.type} ADD: result is not a JSON object")
    return result


def _load(path: Path) -> NetworkList:
    text = path.read_text()
    # Further plugins of a network lie in a folder of its name (C5).
    folder = path.parent / network_name(text)
    siblings = [one.read_text() for one in sorted(folder.glob("*.conf"))]
    return parse_network(text, siblings=siblings)
