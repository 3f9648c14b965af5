"""Can pods get a network now? Asks the CNI configuration and its plugins' STATUS.

A real runtime watches the folder; here it is looked at: every tenth of a second when trouble is
new, ever more rarely the longer it lasts, and every few seconds while all is well. A look costs one
run of the plugin (0.3 ms).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from terway.lab.kubelet.network import CniNetwork
from terway.model.errors import UsageError, VpcError

_EAGER_S = 0.1
_STEADY_S = 5.0
_SHARE = 0.1  # of the time that trouble has lasted: so much later its end is seen, at most


def pause_s(troubled_s: float | None) -> float:
    """Return how long to wait after trouble of so many seconds; None: there is none."""
    if troubled_s is None:
        return _STEADY_S
    return min(max(_EAGER_S, troubled_s * _SHARE), _STEADY_S)


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
        began = time.monotonic()
        while True:
            trouble = await self._look()
            if bool(trouble) != bool(self.trouble):
                began = time.monotonic()
            if trouble != self.trouble:
                self.trouble = trouble
                if trouble:
                    self._ready.clear()
                else:
                    self._ready.set()
                changed()
            await asyncio.sleep(pause_s(time.monotonic() - began if trouble else None))

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
