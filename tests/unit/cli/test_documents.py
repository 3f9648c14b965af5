"""What the README and the page about policies show can be typed as it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from terway.cli.app import cli
from terway.policy.asking.check_parse import parse_expectations

ROOT = Path(__file__).parents[3]
PAGES = ("README.md", "docs/policy.md")
_COMMAND = re.compile(r"^ {0,4}(?:terway-lab run \S+ )?terway-cli (?P<words>.+)$", re.MULTILINE)
_REMARK = re.compile(r" {3,}")  # what stands beside a command, in words


def commands() -> Iterator[str]:
    for page in PAGES:
        for found in _COMMAND.finditer((ROOT / page).read_text()):
            yield _REMARK.split(found["words"])[0]


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_that_is_shown_is_understood(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="terway-cli")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found

    command.make_context(line, words)  # refuses options that there are not


def test_there_are_commands_in_the_documents() -> None:
    shown = set(commands())
    assert "policy verify" in shown
    assert len(shown) > 12


def test_the_file_of_expectations_that_is_shown_is_one() -> None:
    text = (ROOT / "docs/policy.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)

    found = parse_expectations(yaml.safe_load(example))

    assert len(found) == 3
