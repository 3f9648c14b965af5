"""A command that takes long says so, one that does not says nothing; Ctrl-C is no finding."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from terway.cli.exits import INTERRUPTED
from terway.cli.lazy import LazyCommands
from terway.cli.policy_progress import tell_until, telling


def test_what_takes_long_is_told_on_standard_error_after_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = 100.0

    def wait(seconds: float) -> bool:
        nonlocal clock
        clock += seconds
        return clock > 106

    tell_until("comparing", wait, lambda: clock)

    told = capsys.readouterr()
    assert told.err == "comparing: 1 s …\ncomparing: 4 s …\n"
    assert told.out == ""


def test_what_is_done_at_once_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with telling("comparing"):
        pass

    assert capsys.readouterr().err == ""


def test_an_error_of_the_block_passes() -> None:
    with pytest.raises(KeyError), telling("comparing"):
        raise KeyError


def test_an_interrupted_command_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    def slow() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "a_slow_command", SimpleNamespace(command=slow))
    group = LazyCommands(table={"slow": ("a_slow_command", "slow")})

    assert CliRunner().invoke(group, ["slow"]).exit_code == INTERRUPTED
