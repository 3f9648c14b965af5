"""How does a running terwayd follow a changed configuration, and how does it refuse a bad one?

offered ──cannot be right──► refused: the old one goes on; event ConfigError
   └──► what can change now is applied; what needs a restart is told: event ConfigCheck
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from terway.config.agent_config import AgentConfig, parse_agent_config
from terway.config.change import ConfigChange, plan_change
from terway.kube.events import NORMAL, WARNING
from terway.model.errors import UsageError
from terway.model.exposition import Gauge

_log = structlog.get_logger("config")


class Tell(Protocol):
    """Says something at the node, as an event does."""

    def __call__(self, type_: str, reason: str, message: str) -> None:
        """Say it; never waits, never fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadState:
    """What became of the configurations that were offered since the start."""

    applied: int = 0  # how often something changed
    refused: int = 0
    error: str = ""  # of the last one offered; empty: it is followed
    pending: tuple[str, ...] = ()  # keys that wait for a restart


class Reloader:
    """Owns the configuration that is in effect.

    `check` raises UsageError for what terwayd could not start with on this node; `apply` for what
    cannot be now.
    """

    def __init__(
        self,
        running: AgentConfig,
        *,
        check: Callable[[AgentConfig], object],
        apply: Callable[[AgentConfig], None],
        tell: Tell,
    ) -> None:
        self._running = running
        self._check = check
        self._apply = apply
        self._tell = tell
        self._offered: tuple[dict[str, str], str | None] | None = None
        self.state = ReloadState()

    def offer(self, files: Mapping[str, str], patch: str | None) -> bool:
        """Follow `files`, with the node's own `patch` merged in; return whether they are right.

        The same ones again are nothing new. What is wrong changes nothing.
        """
        offered = (dict(files), patch)
        if offered == self._offered:
            return not self.state.error
        self._offered = offered
        try:
            wanted = parse_agent_config(files, patch=patch)
            # All of it, what waits for a restart as well: the restart would be the wrong time.
            self._check(wanted)
            change = plan_change(self._running, wanted)
            if change.applied:
                self._apply(change.effective)
        except UsageError as error:
            self.refuse(str(error))
            return False
        self._accept(change)
        return True

    def refuse(self, error: str) -> None:
        """Keep what is in effect, and say why what is wanted cannot be."""
        if error == self.state.error:
            return
        _log.error("config.refused", error=error)
        self._tell(WARNING, "ConfigError", f"the former configuration goes on: {error}")
        self.state = replace(self.state, refused=self.state.refused + 1, error=error)

    def _accept(self, change: ConfigChange) -> None:
        self._running = change.effective
        if change.applied:
            _log.info("config.applied", keys=change.applied)
            self._tell(NORMAL, "ConfigCheck", f"applied: {', '.join(change.applied)}")
        if change.pending and change.pending != self.state.pending:
            keys = ", ".join(change.pending)
            _log.warning("config.restart_needed", keys=change.pending)
            self._tell(WARNING, "ConfigCheck", f"takes hold when terwayd starts again: {keys}")
        applied = self.state.applied + bool(change.applied)
        self.state = replace(self.state, applied=applied, error="", pending=change.pending)

    def gauges(self) -> tuple[Gauge, ...]:
        """Return the state in numbers."""
        state = self.state
        outcomes = (("applied", state.applied), ("refused", state.refused))
        return (
            Gauge(
                name="terway_config_valid",
                text="1 if the configuration that was last seen is followed",
                values={(): not state.error},
            ),
            Gauge(
                name="terway_config_restart_needed",
                text="keys of eni-config that wait for terwayd to start again",
                values={(): len(state.pending)},
            ),
            Gauge(
                name="terway_config_reload_count",
                text="changed configurations since the start, by what became of them",
                values={(("outcome", name),): count for name, count in outcomes},
            ),
        )
