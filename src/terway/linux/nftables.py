"""A table of nftables that is ours: made as defined, and looked at again. Blocking; for workers.

By libnftables, which takes the text of nft(8); one buffer is one transaction, so a table is
replaced without a moment in which it is missing.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache

from terway.model.errors import TransientError, UsageError

_LIBRARY = "libnftables.so.1"
# The library reads /etc/iproute2 into a context and is not promised to be safe between threads.
_turn = threading.Lock()


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise UsageError(f"{_LIBRARY} cannot be loaded: {error}; install libnftables1") from error
    for name in ("nft_ctx_new", "nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def run(commands: str) -> str:
    """Run commands of nft(8) in the calling thread's network namespace; return what they print.

    All of them or none. Raises TransientError with nft's own words.
    """
    library = _library()
    with _turn:
        context = ctypes.c_void_p(library.nft_ctx_new(0))
        try:
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            failed = library.nft_run_cmd_from_buffer(context, commands.encode())
            if failed:
                text = _text(library.nft_ctx_get_error_buffer(context))
                raise TransientError(f"nft: {text.strip()}", code="nft")
            return _text(library.nft_ctx_get_output_buffer(context))
        finally:
            library.nft_ctx_free(context)


def _text(pointer: int | None) -> str:
    return (ctypes.string_at(pointer) if pointer else b"").decode(errors="replace")


class OwnedTable:
    """A table that nobody else is to change: `name` with its family (``inet terway``)."""

    def __init__(self, name: str, body: str) -> None:
        self._name = name
        self._body = body
        self._listed = ""  # as the kernel showed it when it was right

    @property
    def name(self) -> str:
        """Return its family and name."""
        return self._name

    def ensure(self) -> bool:
        """Make the table as defined, unless it is; return whether something was done.

        The first time it is always made anew: what an earlier process left may be of another
        version. Connections that were translated before go on as they were.
        """
        if self.is_as_made():
            return False
        run(f"add table {self._name}\ndelete table {self._name}\ntable {self._name} {self._body}")
        self._listed = self._list()
        return True

    def is_as_made(self) -> bool:
        """Return whether the table was made, and nobody has changed it since."""
        return bool(self._listed) and self._list() == self._listed

    def _list(self) -> str:
        try:
            return run(f"list table {self._name}")
        except TransientError:  # it is not there
            return ""
