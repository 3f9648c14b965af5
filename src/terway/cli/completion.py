"""terway-cli completion: how does a shell complete our commands?"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM = "terway-cli"
_VARIABLE = "_TERWAY_CLI_COMPLETE"
_WHERE = {
    "bash": "/etc/bash_completion.d/terway-cli",
    "zsh": "${fpath[1]}/_terway-cli",
    "fish": "~/.config/fish/completions/terway-cli.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@click.option("--json", "as_json", is_flag=True, hidden=True)
@click.pass_context
def command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the completion script of a shell.

    bash: terway-cli completion bash > /etc/bash_completion.d/terway-cli
    """
    found = get_completion_class(shell)
    assert found is not None  # the three are click's own
    script = found(ctx.find_root().command, {}, _PROGRAM, _VARIABLE).source()
    if as_json:
        from terway.cli.table import print_json

        print_json({"shell": shell, "path": _WHERE[shell], "script": script})
    else:
        click.echo(script)
