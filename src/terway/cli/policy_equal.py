"""terway-cli policy equal: do A and B say the same?"""

from __future__ import annotations

from typing import Any

import click

from terway.cli.exits import FOUND, OK
from terway.cli.policy_diff import packet_lines, packet_plain
from terway.cli.policy_pair import pair_options, read_pair
from terway.cli.policy_progress import telling
from terway.cli.table import print_json, print_lines
from terway.policy.asking.equality import counter_example


@click.command("equal")
@pair_options
def command(*, before: str, after: str, as_json: bool, **options: Any) -> None:
    """Say whether the manifests A and B allow the same; if not, with a packet that tells them.

    A and B are a folder, a file, - or @live, the cluster. Exact, for the pods among A, B and -f;
    where there is no pod at all, for any cluster.

    Exit code 0: equal; 1: not.
    """
    compared = read_pair(before, after, **options)
    with telling("comparing A and B"):
        packet = counter_example(
            compared.holders, compared.before, compared.after, is_any=compared.is_any
        )
    if as_json:
        example = packet_plain(compared, packet) if packet is not None else None
        print_json({"equal": packet is None, "packet": example, "scope": compared.scope})
    elif packet is None:
        print_lines([f"equal, {compared.scope}"])
    else:
        print_lines([f"not equal, {compared.scope}", *packet_lines(compared, packet, indent=2)])
    raise SystemExit(OK if packet is None else FOUND)
