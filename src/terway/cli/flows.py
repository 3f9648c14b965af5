"""terway-cli flows: which connections are allowed and denied, and by which rule?"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from terway.cli.flows_source import follow, read_files
from terway.cli.flows_text import Tally, line_words
from terway.cli.place import find_place, place_options
from terway.cli.stream import parse_seconds
from terway.cli.table import wrapped
from terway.model.errors import UsageError
from terway.policy.records.flow_filter import FlowFilter, filter_of
from terway.policy.records.recorded import Line, RecordedFlow, line_of

_NOTHING = (
    "no records: connections are recorded while somebody follows, or as flow_log of eni-config says"
)
_NONE = "no record of such a connection"
_END = "[NAMESPACE/]POD, a workload, a node, an address or range, or outside"


@click.command("flows")
@click.option("--pod", default="", metavar="[NAMESPACE/]NAME", help="At either end; or workload.")
@click.option("--namespace", "-n", default="", help="At either end.")
@click.option("--verdict", type=click.Choice(["allowed", "denied"]), default=None)
@click.option("--policy", default="", metavar="[NAMESPACE/]NAME", help="That decided.")
@click.option("--from", "from_", default="", metavar="END", help=f"{_END}.")
@click.option("--to", default="", metavar="END", help="The same.")
@click.option("--port", default="", help="Of the destination.")
@click.option("--protocol", default="", help="TCP, UDP, SCTP, ICMP, ICMPv6 or a number.")
@click.option("--last", type=click.IntRange(0), default=None, help="Records that are known.")
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on; without --last always so.")
@click.option("--for", "duration", default="", metavar="TIME", help="Follow for 10s, 5m, …")
@click.option("--sample", type=click.IntRange(1), default=1, help="Of what is allowed, 1 in N.")
@click.option("--write", default="", metavar="FILE", help="Append the records to a file, too.")
@click.option("--file", "files", multiple=True, metavar="FILE", help="Records of files instead.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a line a record.")
@place_options
def command(
    *,
    verdict: str | None,
    from_: str,
    last: int | None,
    follows: bool,
    duration: str,
    sample: int,
    write: str,
    files: tuple[str, ...],
    as_json: bool,
    **words: str,
) -> None:
    """Show which connections of this node's pods are allowed and denied, and by which rule.

    The node's packet filter tells of connections only while somebody asks (or eni-config has it do
    so, key flow_log): one that is open already is not told. Repeats within a second are one line.
    Ends with Ctrl-C, or after --for. Exit code 3 when terwayd does not answer.
    """
    where = {name: words.pop(name) for name in ("root", "node_name", "kubeconfig")}
    goes_on = follows or last is None or bool(duration)
    wanted = filter_of({**words, "verdict": verdict or "", "from": from_})
    tally = Tally()
    if files:
        known = (one for one in read_files(map(Path, files)) if _is_wanted(wanted, one))
        lines: Iterable[Line] = known if last is None else deque(known, maxlen=last)
    else:
        asked = {**wanted.words(), "sample": str(sample), "last": str(last or 0)}
        asked |= {"follow": "1"} if goes_on else {}
        lines = follow(find_place(**where), asked, seconds=parse_seconds(duration))
    with _open_copy(write) as copy:
        _show(tally.count(lines), copy, as_json=as_json)
    if not as_json:
        nothing = _NONE if goes_on or files else _NOTHING
        click.echo("\n".join(wrapped(tally.words if tally.records else nothing)), err=True)


def _is_wanted(wanted: FlowFilter, line: Line) -> bool:
    return not isinstance(line, RecordedFlow) or wanted.matches(line)


def _show(lines: Iterator[Line], copy: TextIO | None, *, as_json: bool) -> None:
    try:
        for line in lines:
            if copy is not None:
                copy.write(f"{line_of(line)}\n")
                copy.flush()
            click.echo(line_of(line) if as_json else "\n".join(line_words(line)))
    except KeyboardInterrupt:
        click.echo("", err=True)


@contextmanager
def _open_copy(path: str) -> Iterator[TextIO | None]:
    """Open the file for the block, for its owner alone: who talks to whom is nobody else's."""
    if not path:
        yield None
        return
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--write {path}: {error.strerror}", field="--write") from error
    with os.fdopen(opened, "a", encoding="utf-8") as copy:
        yield copy
