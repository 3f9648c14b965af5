"""How is a list shown to a person: in 80 columns, without colour?"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence

import click

from terway.cli.codec import plain

WIDTH = 80
_GAP = "  "
_ELLIPSIS = "…"
_LEAST = 8  # letters of a column that gives way


def table_lines(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    indent: int = 0,
    width: int = WIDTH,
    whole: str = "",
) -> list[str]:
    """Return a table's lines. The widest column gives way until the lines fit `width`.

    `whole` is the head of a column that gives way last: half an address is none.
    """
    body = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    room = width - indent - len(_GAP) * (len(widths) - 1)
    for kept in (whole, None):
        able = [at for at, head in enumerate(heads) if head != kept]
        while sum(widths) > room and max(widths[at] for at in able) > _LEAST:
            widths[max(able, key=lambda at: widths[at])] -= 1
    return [_line(row, widths, indent) for row in (tuple(heads), *body)]


def _line(row: Sequence[str], widths: Sequence[int], indent: int) -> str:
    cells = (shorten(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True))
    return (" " * indent + _GAP.join(cells)).rstrip()


def shorten(text: str, size: int) -> str:
    """Return `text` in at most `size` characters; the middle is what goes."""
    if len(text) <= size:
        return text
    head = (size - 1) // 2
    tail = size - 1 - head
    return text[:head] + _ELLIPSIS + (text[-tail:] if tail else "")


def wrapped(text: str, *, indent: int = 0, width: int = WIDTH) -> list[str]:
    """Return `text` in lines of `width`; the lines after the first are indented two more.

    Commands and addresses stay whole, so that they can be pasted.
    """
    return textwrap.wrap(
        text,
        width=width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def counted(count: int, one: str, many: str = "") -> str:
    """Return how many of something there are; `many` is its plural where that is not with s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    click.echo("\n".join(lines))


def print_json(value: object) -> None:
    """Print any value of ours as JSON."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))
