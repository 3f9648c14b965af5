"""terway-cli metrics: what does terwayd count?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

import click

from terway.cli.bundle_file import METRICS_NAME, read_bundle_file
from terway.cli.place import find_place, place_options
from terway.cli.read_node import get_page
from terway.cli.table import print_json, print_lines
from terway.model.errors import TransientError, UsageError

# Of a histogram, a person wants the sum and the count; programs scrape the rest.
_BUCKET = "_bucket{"


@click.command("metrics")
@click.argument("text", default="")
@click.option("--bundle", default="", help="A support bundle, instead of this node.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@place_options
def command(text: str, bundle: str, as_json: bool, **where: str) -> None:
    """Show terwayd's own figures, those with TEXT in their names.

    Exit code 2 when no name has TEXT; 3 when terwayd does not answer, or did not when the bundle
    was made.
    """
    exposition = _exposition(bundle, where)
    samples = samples_of(exposition, text)
    if not samples and text:
        raise UsageError(_unknown(text, samples_of(exposition)), field="TEXT")
    if as_json:
        print_json(samples)
    else:
        print_lines(f"{value:>14}  {name}" for name, value in samples.items())


def _exposition(bundle: str, where: Mapping[str, str]) -> str:
    if not bundle:
        return get_page(find_place(**where), "/metrics")[1].decode()
    found = read_bundle_file(Path(bundle), METRICS_NAME)
    if found is None:
        raise TransientError(f"--bundle {bundle}: terwayd did not answer when it was made")
    return found.decode()


def _unknown(text: str, samples: Iterable[str]) -> str:
    names = sorted({one.partition("{")[0] for one in samples})
    near = get_close_matches(text, names, n=3, cutoff=0.4)
    hint = (
        f"did you mean {', '.join(near)}?" if near else f"without TEXT all {len(names)} are shown"
    )
    return f"no figure has {text!r} in its name: {hint}"


def samples_of(exposition: str, text: str = "") -> dict[str, str]:
    """Return the samples of an exposition by name and labels, without histograms' buckets."""
    found: dict[str, str] = {}
    for line in exposition.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#") and _BUCKET not in line and text in name:
            found[name] = value
    return found
