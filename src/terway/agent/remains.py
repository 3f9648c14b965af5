"""When does go what upstream's policy engines left on a node that was taken over?

felix's chains     as soon as our own policies are in force: both judge meanwhile, so that no packet
                   passes that one of them forbids
Cilium's           then, too, and not before the last pod that runs by its programs has gone

Nothing goes while the engine itself runs. Imported on nodes that were upstream's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

import structlog

from terway.agent.leftovers import CLEANED, FOUND
from terway.agent.mender import Teller
from terway.linux.remains import Engine, Remains, legacy_tables, read_remains, remove_remains
from terway.model.attachment import Attachment
from terway.model.errors import VpcError

_PERIOD_S = 30.0  # how often is looked whether the last pod of Cilium's has gone

_log = structlog.get_logger("remains")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainsKeeper:
    """Removes them, each engine's once. `judged` returns when our policies are in force."""

    reconciled: asyncio.Event
    judged: Callable[[], Coroutine[None, None, None]] | None
    attachments: Callable[[], Iterable[Attachment]]
    teller: Teller | None
    period_s: float = _PERIOD_S

    async def run(self) -> None:
        """Look until nothing is left. What fails is told, and tried again."""
        await self.reconciled.wait()
        if self.judged is not None:
            await self.judged()
        self._tell_legacy()
        left = await self._remove(Engine)
        while left:
            await asyncio.sleep(self.period_s)
            left = await self._remove(left)

    async def _remove(self, engines: Iterable[Engine]) -> list[Engine]:
        """Return those of which something is left."""
        return [engine for engine in engines if not await self._is_done(engine)]

    async def _is_done(self, engine: Engine) -> bool:
        try:
            found = await asyncio.to_thread(read_remains, engine)
            if found.is_empty:
                return not found.is_running
            if found.is_running or (engine is Engine.CILIUM and self._is_needed()):
                _log.info("remains.kept", engine=engine.name, is_running=found.is_running)
                return False
            await asyncio.to_thread(remove_remains, found)
        except (VpcError, OSError) as error:
            _log.warning("remains.failed", engine=engine.name, error=str(error))
            return False
        self._tell(CLEANED, _words(found))
        return True

    def _is_needed(self) -> bool:
        """Return whether pods run by Cilium's programs: those that were left alone."""
        return any(one.spec.is_left_alone for one in self.attachments())

    def _tell_legacy(self) -> None:
        tables = legacy_tables()
        if tables:
            text = f"tables of iptables-legacy are here: {', '.join(tables)}"
            remedy = "look for chains cali- or CILIUM_ by iptables-legacy-save, and remove them"
            self._tell(FOUND, f"{text}: {remedy}")

    def _tell(self, reason: str, message: str) -> None:
        _log.warning("remains.told", reason=reason, text=message)
        if self.teller is not None:
            self.teller.tell_node(reason, message)


def _words(found: Remains) -> str:
    return f"what {found.engine.name.lower()} left was removed: {'; '.join(found.lines())}"
