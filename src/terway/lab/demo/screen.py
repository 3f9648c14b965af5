"""How does the demo show that it moves? A line in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Screen:
    """Steps with their time. Every finished step is one plain line, readable in 80 columns."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the demo began."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs, and how long it took."""
        step = Step(self, title, is_terminal=self._is_terminal)
        step.note("")
        try:
            yield step
        except BaseException:
            step.close("failed")
            raise
        step.close("done")

    def lines(self, lines: list[str], *, indent: str = "  ") -> None:
        """Print lines."""
        for line in lines:
            sys.stdout.write(f"{indent}{line}".rstrip() + "\n")
        sys.stdout.flush()

    def title(self, text: str) -> None:
        """Print a headline."""
        bold, plain = ("\x1b[1m", "\x1b[0m") if self._is_terminal else ("", "")
        sys.stdout.write(f"\n{bold}{text}{plain}\n")
        sys.stdout.flush()


class Step:
    """One step that is under way."""

    def __init__(self, screen: Screen, title: str, *, is_terminal: bool) -> None:
        self._screen = screen
        self._title = title
        self._is_terminal = is_terminal
        self._began = time.monotonic()
        self._noted = ""

    def note(self, text: str) -> None:
        """Say what is being waited for: on a terminal it is replaced by the next."""
        if text and text == self._noted:
            return
        self._noted = text
        line = f"{self._screen.elapsed_s:5.1f}s  {self._title}{': ' + text if text else ''}"
        if self._is_terminal:
            sys.stdout.write(f"\r\x1b[2K\x1b[36m{line[:79]}\x1b[0m")
        elif text:
            lines = textwrap.wrap(line, 79, subsequent_indent=" " * 8)
            sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def close(self, word: str) -> None:
        """End the step with its time."""
        took = time.monotonic() - self._began
        line = f"{self._screen.elapsed_s:5.1f}s  {self._title}: {word} in {took:.1f} s"
        colour = "\x1b[32m" if word == "done" else "\x1b[31m"
        text = f"\r\x1b[2K{colour}{line}\x1b[0m" if self._is_terminal else line
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
