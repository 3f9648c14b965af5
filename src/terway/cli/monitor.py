"""terway-cli monitor: what does the eBPF data path lose, and do, as it happens?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from terway.cli.place import Place, find_place, place_options
from terway.cli.stream import parse_seconds, read_stream
from terway.cli.table import counted, wrapped
from terway.datapath.happening import Happened, Line, What, line_of, read_line

PAGE = "/debug/monitor"
_ABSENT = (
    "this terwayd has no data path in eBPF (see eni-config); what policies do to connections "
    "terway-cli flows shows, and what was lost so far terway-cli drops"
)
_WORDS = {
    What.LOSS: "LOST",
    What.OPEN: "open",
    What.CLOSE: "close",
}


@click.command("monitor")
@click.option("--drops", is_flag=True, help="Lost packets alone.")
@click.option("--flows", is_flag=True, help="Connections alone.")
@click.option("--pod", default="", metavar="[NAMESPACE/]NAME", help="At either end.")
@click.option("--sample", type=click.IntRange(1), default=1, help="Of connections, 1 in N.")
@click.option("--most", type=click.IntRange(1), default=2000, help="A second.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many.")
@click.option("--for", "duration", default="", metavar="TIME", help="End after 10s, 5m, …")
@click.option("--json", "as_json", is_flag=True, help="For programs: a line a record.")
@place_options
def command(
    *,
    drops: bool,
    flows: bool,
    pod: str,
    sample: int,
    most: int,
    count: int | None,
    duration: str,
    as_json: bool,
    **where: str,
) -> None:
    """Show what the eBPF data path of this node loses, and which connections it sees, live.

    A lost packet is shown with its reason; a connection when it opens, with the service that it is
    for, and when it ends. At most so many are told as --most says; how many were left out is told,
    too. While nobody watches nothing is told, and it costs nothing.

    Of one connection with --sample everything is shown, or nothing. What a policy says to it, and
    which, is in terway-cli flows. Ends with Ctrl-C, or after --count or --for. Exit code 2 where
    the node has no data path in eBPF, 3 when terwayd does not answer.
    """
    asked = {"pod": pod, "sample": str(sample), "most": str(most)}
    asked |= {"losses": "1"} if drops else {}
    asked |= {"flows": "1"} if flows else {}
    words = {name: value for name, value in asked.items() if value}
    tally = Tally()
    try:
        for line in _until(count, tally, _follow(find_place(**where), words, duration)):
            click.echo(line_of(line) if as_json else "\n".join(line_words(line)))
    except KeyboardInterrupt:
        click.echo("", err=True)
    if not as_json:
        click.echo("\n".join(wrapped(tally.words)), err=True)


def _follow(place: Place, words: dict[str, str], duration: str) -> Iterator[Line]:
    seconds = parse_seconds(duration)
    for text in read_stream(place, PAGE, words, seconds=seconds, absent=_ABSENT):
        yield read_line(text, where="an answer of terwayd")


def _until(count: int | None, tally: Tally, lines: Iterator[Line]) -> Iterator[Line]:
    """Yield lines, counting them, up to `count` records."""
    for line in lines:
        tally.count(line)
        yield line
        if count is not None and tally.records >= count:
            return


def line_words(line: Line) -> list[str]:
    """Return a record as a person reads it."""
    if not isinstance(line, Happened):
        text = f"{line.count} were left out: too many at once" if line.count else line.text
        return wrapped(f"{_clock(line.time)} {line.node}: {text}")
    return wrapped(f"{_clock(line.time)} {_WORDS[line.what]:<6} {_ends(line)}{_why(line)}")


def _ends(line: Happened) -> str:
    if line.source is None or line.destination is None:
        return f"a packet of {line.bytes} bytes at {line.pod or 'no pod'}"
    service = f" (service {line.frontend})" if line.frontend is not None else ""
    return f"{line.protocol} {line.source} -> {line.destination}{service}"


def _why(line: Happened) -> str:
    if line.what is not What.LOSS:
        return ""
    at = f", at {line.pod}" if line.pod and line.source is not None else ""
    return f": {line.meaning or line.reason}{at}"


def _clock(time: str) -> str:
    """Return the time of day of an RFC 3339 time, which is UTC, in milliseconds."""
    return time.partition("T")[2].rstrip("Z")[:12] or time


@dataclass(slots=True)
class Tally:
    """What has been shown."""

    left_out: int = 0
    _counts: Counter[What] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """Return how many records there were."""
        return self._counts.total()

    def count(self, line: Line) -> None:
        """Count a line."""
        if isinstance(line, Happened):
            self._counts[line.what] += 1
        else:
            self.left_out += line.count

    @property
    def words(self) -> str:
        """Return it in a line."""
        lost = counted(self._counts[What.LOSS], "lost packet")
        opened = counted(self._counts[What.OPEN], "connection")
        left = f"; {self.left_out} left out" if self.left_out else ""
        return f"{lost}, {opened} opened{left}"
