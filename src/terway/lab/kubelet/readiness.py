"""Can pods get a network now? Asks the CNI configuration and its plugins' STATUS.

A real runtime watches the folder; here it is looked at every tenth of a second until it serves,
and every few seconds afterwards, which costs one plugin run each (0.3 ms).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from terway.lab.kubelet.network import CniNetwork
from terway.model.errors import UsageError, VpcError

_EAGER_S = 0.1
_STEADY_S = 5.0


class NetworkReadiness:
    """Whether CNI can be called; `trouble` is empty when it can."""

    def __init__(self, network: CniNetwork) -> None:
        self._network = network
        self._ready = asyncio.Event()
        self.trouble = "cni plugin not initialized"

    async def wait(self) -> None:
        """Return once the network is ready."""
        await self._ready.wait()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Keep looking until cancelled; `changed` is called when the answer changes."""
        while True:
            trouble = await self._look()
            if trouble != self.trouble:
                self.trouble = trouble
                if trouble:
                    self._ready.clear()
                else:
                    self._ready.set()
                changed()
            await asyncio.sleep(_EAGER_S if trouble else _STEADY_S)

    async def _look(self) -> str:
        try:
            self._network.load()
        except UsageError as error:
            return f"cni plugin not initialized: {error}"
        try:
            await self._network.status()
        except VpcError as error:
            return str(error)
        return ""
