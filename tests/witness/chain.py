"""The least of a runtime: a list of plugins, run as libcni runs it, over one attachment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.place import Place

BIN_DIR = "/opt/cni/bin"


@dataclass(slots=True, kw_only=True)
class ChainedAttachment:
    """One container's interface, and the list of plugins that make it.

    `runtime` has the capability arguments; a plugin gets those that it declares.
    """

    node: Place
    conflist: dict[str, Any]
    container_id: str
    netns: str
    runtime: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    async def add(self) -> dict[str, Any]:
        """Run the plugins in order, each with the result of the one before; return the last."""
        for plugin in self.conflist["plugins"]:
            self.result = json.loads(await self._execute("ADD", plugin))
        assert self.result is not None
        return self.result

    async def check(self) -> None:
        """Run CHECK in order, each plugin with the final result of ADD."""
        for plugin in self.conflist["plugins"]:
            await self._execute("CHECK", plugin)

    async def delete(self) -> None:
        """Run DEL in reverse order, each plugin with the final result of ADD."""
        for plugin in reversed(self.conflist["plugins"]):
            await self._execute("DEL", plugin)

    async def _execute(self, verb: str, plugin: dict[str, Any]) -> str:
        wanted = {name for name, wants in plugin.get("capabilities", {}).items() if wants}
        stdin = {key: value for key, value in plugin.items() if key != "capabilities"}
        stdin |= {"name": self.conflist["name"], "cniVersion": self.conflist["cniVersion"]}
        stdin["runtimeConfig"] = {k: v for k, v in self.runtime.items() if k in wanted}
        if self.result is not None:
            stdin["prevResult"] = self.result
        place = self.node.with_env(
            CNI_COMMAND=verb,
            CNI_CONTAINERID=self.container_id,
            CNI_NETNS=self.netns,
            CNI_IFNAME="eth0",
            CNI_PATH=BIN_DIR,
        )
        return await place.run(f"{BIN_DIR}/{plugin['type']}", stdin=json.dumps(stdin))
