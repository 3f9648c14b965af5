"""How does a group of commands answer --help before it has imported any of them?"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from terway.cli.exits import CANNOT_REACH, INTERRUPTED, USAGE
from terway.model.errors import TransientError, VpcError

# name: (module with a click command called `command`, what it does)
Table = Mapping[str, tuple[str, str]]


class LazyCommands(click.Group):
    """The commands of a table; errors of ours are a line, not a traceback.

    A command's module is imported when the command is run: `--help` and completion answer before
    one has let go of the key.
    """

    def __init__(self, *args: Any, table: Table, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; None when there is no such command."""
        if cmd_name not in self.table:
            return None
        found: click.Command = import_module(self.table[cmd_name][0]).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours becomes a line and an exit code."""
        try:
            return super().invoke(ctx)
        except VpcError as error:
            click.echo(f"terway-cli: {error}", err=True)
            ctx.exit(CANNOT_REACH if isinstance(error, TransientError) else USAGE)
        except KeyboardInterrupt:  # 1 would say that something was found
            click.echo("", err=True)
            ctx.exit(INTERRUPTED)
