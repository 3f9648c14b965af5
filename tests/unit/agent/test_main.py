"""What terwayd says when it cannot start."""

from __future__ import annotations

import pytest

from terway.agent import main as entry
from terway.model.errors import UsageError


async def _refuse(_options):
    field = UsageError('eni_conf is no JSON: "{nonsense"', field="eni_conf")
    raise ExceptionGroup("reading", [ExceptionGroup("config", [field])])


def test_an_error_from_within_task_groups_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(entry, "run", _refuse)
    monkeypatch.setattr(entry, "configure_log", lambda _level: None)  # it is the whole process's
    monkeypatch.setenv("NODE_NAME", "node-1")

    with pytest.raises(SystemExit) as refused:
        entry.main(["--config", str(tmp_path / "eni_conf"), "--no-kubernetes"])

    assert str(refused.value) == 'terwayd: eni_conf is no JSON: "{nonsense"'
