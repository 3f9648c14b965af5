"""Which key of ctrl-config is followed while the process runs? `degradation`, from its file.

It is a person's lever in a bad hour, so it must not need a restart. What else has changed in the
file waits for one, and is said.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import structlog

from terway.config.keys_controlplane import DegradationLevel
from terway.controlplane.config import Config, parse_config, read_file
from terway.model.errors import UsageError

_log = structlog.get_logger("config")

LOOK_EVERY_S = 5.0  # a ConfigMap's files are up to a minute old anyway


class FollowedConfig:
    """The configuration file as it was, and the degradation that it asks for now."""

    def __init__(self, path: Path, text: str, config: Config) -> None:
        self._path = path
        self._text = text
        self._config = config
        self._level = config.degradation

    def degradation(self) -> DegradationLevel:
        """Return what pools do without now."""
        return self._level

    def look(self) -> None:
        """Read the file again. One that cannot be followed changes nothing, and is logged."""
        try:
            text = read_file(self._path)
            if text == self._text:
                return
            self._text = text
            found, _ = parse_config(text)
        except UsageError as error:
            _log.error("config.refused", path=str(self._path), error=str(error))
            return
        if found.degradation is not self._level:
            _log.warning("config.degradation", was=self._level.value, now=found.degradation.value)
            self._level = found.degradation
        if replace(found, degradation=self._config.degradation) != self._config:
            _log.warning(
                "config.changed", path=str(self._path), remedy="restart to follow the rest"
            )

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()
