"""terway-cli health: is terwayd alive, and does it serve? What a probe of the kubelet asks."""

from __future__ import annotations

import click

from terway.cli.exits import FOUND, OK
from terway.cli.place import find_place, place_options
from terway.cli.read_node import get_page
from terway.cli.table import print_json, print_lines, wrapped

_OK = 200


@click.command("health")
@click.option("--ready", is_flag=True, help="Ask whether it serves, not only whether it lives.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(ready: bool, as_json: bool, **where: str) -> None:
    """Ask terwayd how it is.

    Exit code 0: well; 1: not, and it says why; 3: it does not answer.
    """
    status, body = get_page(find_place(**where), "/readyz" if ready else "/healthz")
    words = body.decode(errors="replace").strip()
    if as_json:
        print_json({"healthy": status == _OK, "says": words})
    else:
        print_lines(wrapped(words or ("well" if status == _OK else f"status {status}")))
    raise SystemExit(OK if status == _OK else FOUND)
