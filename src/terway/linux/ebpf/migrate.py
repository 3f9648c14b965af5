"""How do entries of one layout become entries of another? By the names of their fields.

A field that both have keeps its value, as far as it has room; a new one is zero. The structs of
the maps that are pinned are described beside them (`description`), so that a terwayd can read what
another version left, whichever that was.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from terway.linux.bpf import Map, map_of
from terway.linux.bpf_call import bpf, translate, try_bpf
from terway.linux.layout import Layout
from terway.model.errors import BugError, TransientError

Convert = Callable[[bytes], bytes]
Structs = Mapping[str, tuple[Layout, Layout]]
"""Key and value of maps, by the map's name."""

DESCRIPTION = "description"
_DESCRIPTION_BYTES = 8192
_MAP_CREATE, _MAP_UPDATE, _MAP_UPDATE_BATCH = 0, 2, 26
_ARRAY = 2
_NO_EXIST = 1
_CREATE = struct.Struct("=IIIIIII16s")  # type, key, value, entries, flags, inner, numa, name
_ELEMENT = struct.Struct("=IxxxxQQQ")
_BATCH = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, map, element flags, flags
_AT_ONCE = 4096
_KERNEL_LACKS = frozenset({errno.EINVAL, 524})  # ENOTSUPP of the kernel, not of libc
_ONLY = bytes(4)


def converter(old: Layout, new: Layout) -> Convert:
    """Return what makes a packed `new` of a packed `old`."""
    if old == new:
        return lambda data: data
    shared = {name for name, _ in old.fields} & {name for name, _ in new.fields}
    rooms = {name: (code, 8 * struct.calcsize(f"={code}")) for name, code in new.fields}

    def convert(data: bytes) -> bytes:
        found = old.unpack(data)
        return new.pack(**{name: _fitting(found[name], *rooms[name]) for name in shared})

    return convert


def _fitting(value: int | bytes, code: str, bits: int) -> int | bytes:
    if code.endswith("s"):
        return value if isinstance(value, bytes) else 0
    return value & ((1 << bits) - 1) if isinstance(value, int) else 0


def describe(structs: Structs) -> Map:
    """Return a new map that says in words what the maps hold; its descriptor is the caller's."""
    words = {name: [one.fields for one in pair] for name, pair in structs.items()}
    text = json.dumps(words, separators=(",", ":")).encode()
    if len(text) > _DESCRIPTION_BYTES:
        raise BugError(f"the description of maps has {len(text)} bytes")
    name = DESCRIPTION.encode().ljust(16, b"\0")
    attr = _CREATE.pack(_ARRAY, len(_ONLY), _DESCRIPTION_BYTES, 1, 0, 0, 0, name)
    try:
        made = map_of(bpf(_MAP_CREATE, attr)[0])
    except OSError as error:
        raise translate(error, f"create map {DESCRIPTION}") from error
    made.update(_ONLY, text.ljust(_DESCRIPTION_BYTES, b"\0"))
    return made


def read_description(maps: Mapping[str, Map]) -> Structs:
    """Return the structs of pinned maps as they are described; none where nothing is said."""
    held = maps.get(DESCRIPTION)
    text = b"" if held is None else (held.lookup(_ONLY) or b"").rstrip(b"\0")
    return {
        name: (_layout(f"{name} key", key), _layout(f"{name} value", value))
        for name, (key, value) in json.loads(text or b"{}").items()
    }


def _layout(name: str, fields: Iterable[Iterable[str]]) -> Layout:
    return Layout(name=name, fields=tuple((one, code) for one, code in fields))


def put_all(target: Map, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write many entries: a microsecond each, where the kernel takes them by batches."""
    rest = iter(entries)
    while some := tuple(islice(rest, _AT_ONCE)):
        if not _put_batch(target, some):
            for key, value in some:
                target.update(key, value)


def _put_batch(target: Map, some: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Write a batch; return False where the kernel has none for maps of this kind."""
    keys = ctypes.create_string_buffer(b"".join(key for key, _ in some))
    values = ctypes.create_string_buffer(b"".join(value for _, value in some))
    at = ctypes.addressof(keys), ctypes.addressof(values)
    result, _ = try_bpf(_MAP_UPDATE_BATCH, _BATCH.pack(0, 0, *at, len(some), target.fd, 0, 0))
    if result < 0 and -result not in _KERNEL_LACKS:
        error = OSError(-result, os.strerror(-result))
        raise translate(error, f"map {target.name}, update batch")
    return result >= 0


def put_absent(target: Map, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write the entries whose keys are not there; those that are stay as they are."""
    for key, value in entries:
        held = ctypes.create_string_buffer(key), ctypes.create_string_buffer(value)
        at = map(ctypes.addressof, held)
        result, _ = try_bpf(_MAP_UPDATE, _ELEMENT.pack(target.fd, *at, _NO_EXIST))
        if result < 0 and -result not in (errno.EEXIST, errno.E2BIG):
            raise TransientError(f"map {target.name}: {os.strerror(-result)}")
