"""What does a command say while it computes for longer than a second? On standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
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
    teller = threading.Thread(target=tell_until, args=(what, done.wait), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def tell_until(
    what: str, is_done: Callable[[float], bool], now: Callable[[], float] = time.monotonic
) -> None:
    """Say what is being done until `is_done`, which waits for so many seconds, says yes."""
    began = now()
    pause_s = _PATIENCE_S
    while not is_done(pause_s):
        click.echo(f"{what}: {now() - began:.0f} s …", err=True)
        pause_s = _EVERY_S
