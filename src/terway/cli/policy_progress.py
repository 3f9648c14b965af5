"""What does a command say while it computes for longer than a second? On standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

_PATIENCE_S = 1.0
_EVERY_S = 3.0


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say what is being done, after a second of the block and now and then from there on.

    By a thread of its own: the block computes, and turns no loop.
    """
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(what: str, done: threading.Event) -> None:
    began = time.monotonic()
    pause_s = _PATIENCE_S
    while not done.wait(pause_s):
        click.echo(f"{what}: {time.monotonic() - began:.0f} s …", err=True)
        pause_s = _EVERY_S
