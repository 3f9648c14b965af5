"""terway-cli metrics: what does terwayd count?"""

from __future__ import annotations

import click

from terway.cli.place import find_place, place_options
from terway.cli.read_node import get_page
from terway.cli.table import print_json, print_lines

# Of a histogram, a person wants the sum and the count; programs scrape the rest.
_BUCKET = "_bucket{"


@click.command("metrics")
@click.argument("text", default="")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(text: str, as_json: bool, **where: str) -> None:
    """Show terwayd's own figures, those with TEXT in their names.

    Exit code 3 when terwayd does not answer.
    """
    _, body = get_page(find_place(**where), "/metrics")
    samples = samples_of(body.decode(), text)
    if as_json:
        print_json(samples)
    else:
        print_lines(f"{value:>14}  {name}" for name, value in samples.items())


def samples_of(exposition: str, text: str = "") -> dict[str, str]:
    """Return the samples of an exposition by name and labels, without histograms' buckets."""
    found: dict[str, str] = {}
    for line in exposition.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#") and _BUCKET not in line and text in name:
            found[name] = value
    return found
