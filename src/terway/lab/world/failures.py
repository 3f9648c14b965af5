"""Why did the lab's process end? As whoever started it is to read it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from terway.model.errors import BugError, VpcError

_LINES = 15


def explain(error: BaseException) -> str:
    """Return each error once: ours in its own words, an unexpected one with its traceback's end."""
    return "; ".join(dict.fromkeys(_words(one) for one in _leaves(error)))


def _words(error: BaseException) -> str:
    if isinstance(error, VpcError) and not isinstance(error, BugError):
        return str(error)
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "\n".join(["the lab's process failed, which it should not:", *lines[-_LINES:]])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
