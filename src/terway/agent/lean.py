"""What keeps terwayd small, decided before anything large is imported. Imported first by `main`.

Measured with 50 pods, resident: no extension for frozenlist 1.0 MB, certificates that are looked
up when needed 1.9 MB, one malloc arena 0.4 MB.
"""

from __future__ import annotations

import ctypes
import gc
import os
import ssl
from pathlib import Path

_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # malloc.h
# Above what each read of a socket asks for (64 KiB of netlink, 256 KiB of a connection): pages of
# their own for those were half of an ADD's system calls.
_LARGE_BYTES = 320 * 1024
_KEPT_BYTES = 1024 * 1024


def _prefer_plain_frozenlist() -> None:
    # aiohttp's lists of callbacks are frozen once and are never the hot path.
    os.environ.setdefault("FROZENLIST_NO_EXTENSIONS", "1")


def _load_certificates_when_needed() -> None:
    """Have OpenSSL look a CA up in its folder instead of reading the whole bundle.

    aiohttp makes a default TLS context when it is imported, and that parses all 140 CAs of the
    bundle. The folder has them by hash, where ``c_rehash`` was run: Debian, Alpine, and others. A
    bundle that somebody chose is left alone, unless it is the one of that folder.
    """
    folder = ssl.get_default_verify_paths().capath
    if folder is None or not any(Path(folder).glob("*.0")):
        return
    chosen = os.environ.get("SSL_CERT_FILE")
    if not chosen or Path(chosen).parent.resolve() == Path(folder).resolve():
        os.environ["SSL_CERT_FILE"] = os.devnull


def _use_one_small_heap() -> None:
    # Threads that allocate get arenas of their own; the interpreter's lock makes them take turns
    # anyway. Large buffers (a netlink dump, a page of pods) get pages of their own, which go back
    # when they are freed. musl has no mallopt and no arenas.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def settle() -> None:
    """Once all is loaded: give back what importing left, and pass the rest over when collecting.

    What is there now lives as long as the process.
    """
    gc.collect()
    gc.freeze()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


_prefer_plain_frozenlist()
_load_certificates_when_needed()
_use_one_small_heap()
