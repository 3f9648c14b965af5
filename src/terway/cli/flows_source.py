"""Where do records of connections come from: terwayd's flow log as it grows, or files of them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from terway.cli.place import Place
from terway.cli.stream import read_stream
from terway.model.errors import UsageError
from terway.policy.records.recorded import Line, read_line

PAGE = "/debug/flows"
_ABSENT = "this terwayd keeps no flow log: it enforces no policies (disable_network_policy)"


def read_files(paths: Iterable[Path]) -> Iterator[Line]:
    """Yield the records of files, in the files' order. Raises UsageError with file and line."""
    for path in paths:
        try:
            with path.open(encoding="utf-8") as opened:
                for number, text in enumerate(opened, 1):
                    if text.strip():
                        yield read_line(text, where=f"{path} line {number}")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"{path}: {why}", field=str(path)) from error


def follow(place: Place, words: dict[str, str], *, seconds: float | None) -> Iterator[Line]:
    """Yield what terwayd tells until it ends, or `seconds` are over.

    Raises TransientError when terwayd is down, or goes; UsageError when it refuses the question.
    """
    for text in read_stream(place, PAGE, words, seconds=seconds, absent=_ABSENT):
        yield read_line(text, where="an answer of terwayd")
