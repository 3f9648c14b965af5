"""bpf(2): maps, test runs, pins and what the kernel says about loaded objects. Blocking; fast.

Loading is `linux/libbpf.py`. One map call costs about 3 us, so maps are used from any thread.
Source: bpf(2), include/uapi/linux/bpf.h (union bpf_attr).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from terway.model.errors import BugError, ConflictError, TransientError, UsageError, VpcError

_SYSCALL = {"x86_64": 321, "aarch64": 280}

_MAP_LOOKUP = 1
_MAP_UPDATE = 2
_MAP_DELETE = 3
_MAP_NEXT_KEY = 4
_OBJ_PIN = 6
_OBJ_GET = 7
_PROG_TEST_RUN = 10
_INFO_BY_FD = 15
_MAP_LOOKUP_BATCH = 24

_ELEMENT = struct.Struct("=IxxxxQQQ")  # map, key, value or next key, flags
_BATCH = struct.Struct("=QQQQIIQQ")  # in, out, keys, values, count, map, element flags, flags
_PIN = struct.Struct("=QII")  # path, fd, flags
_INFO = struct.Struct("=IIQ")  # fd, length, address
_TEST_RUN = struct.Struct("=IIIIQQIIIIQQIIIxxxx")
_MAP_INFO = struct.Struct("=IIIIII16s")  # type, id, key, value, entries, flags, name
_PROG_INFO_NAME = 64  # offsets in struct bpf_prog_info
_PROG_INFO_VERIFIED = 216

_PER_CPU_TYPES = frozenset({5, 6, 10, 21})  # per-CPU hash, array, LRU hash, cgroup storage
_NO_BATCH_TYPES = frozenset({11})  # LPM trie: batches came later than for hashes
_BATCH_ENTRIES = 4096
_TEST_RUN_ROOM = 1024  # a program may make a packet longer than it was

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """Call bpf(2); return its result and the attribute as the kernel left it, or raise OSError."""
    buffer = ctypes.create_string_buffer(attr, len(attr))
    number = _SYSCALL[platform.machine()]
    result = _libc.syscall(number, command, buffer, len(attr))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _translate(error: OSError, what: str) -> VpcError:
    name = errno.errorcode.get(error.errno or 0, "")
    text = f"{what}: {name} ({error.strerror})"
    if error.errno in (errno.ENOENT, errno.EEXIST):
        return ConflictError(text, code=name)
    if error.errno in (errno.EPERM, errno.EACCES):
        return UsageError(f"{text}; run with CAP_BPF and CAP_NET_ADMIN", code=name)
    if error.errno in (errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.E2BIG, errno.ENOSPC):
        return TransientError(text, code=name)  # E2BIG: the map is full
    return BugError(text, code=name)


@cache
def possible_cpus() -> int:
    """Return for how many CPUs a per-CPU map holds a value."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A map in the kernel. Keys and values are bytes; `contract` modules say what they mean.

    The value of a per-CPU map is one value for each possible CPU, each padded to 8 bytes.
    """

    fd: int
    name: str
    type: int
    key_size: int
    value_size: int  # as declared
    max_entries: int

    @property
    def value_bytes(self) -> int:
        """Return the size of a value as bpf(2) copies it."""
        if self.type in _PER_CPU_TYPES:
            return (self.value_size + 7) // 8 * 8 * possible_cpus()
        return self.value_size

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        wanted = self._key(key)
        value = ctypes.create_string_buffer(self.value_bytes)
        found = self._element(_MAP_LOOKUP, wanted, ctypes.addressof(value))
        return value.raw if found else None

    def update(self, key: bytes, value: bytes) -> None:
        """Put `value` at `key`. Raises TransientError when the map is full."""
        if len(value) != self.value_bytes:
            raise BugError(f"map {self.name}: value of {len(value)} bytes, not {self.value_bytes}")
        wanted = self._key(key)
        given = ctypes.create_string_buffer(value, len(value))
        self._element(_MAP_UPDATE, wanted, ctypes.addressof(given), tolerate_absence=False)

    def delete(self, key: bytes) -> bool:
        """Delete `key`; return whether it was there."""
        return self._element(_MAP_DELETE, self._key(key), 0)

    def keys(self) -> Iterator[bytes]:
        """Iterate over the keys. Entries that come or go meanwhile may be missed or repeated."""
        following = ctypes.create_string_buffer(self.key_size)
        current: ctypes.Array[ctypes.c_char] | None = None
        while self._element(_MAP_NEXT_KEY, current, ctypes.addressof(following)):
            yield following.raw
            current = self._key(following.raw)

    def items(self) -> dict[bytes, bytes]:
        """Return all entries."""
        if self.type in _NO_BATCH_TYPES | _PER_CPU_TYPES:
            found = ((key, self.lookup(key)) for key in list(self.keys()))
            return {key: value for key, value in found if value is not None}
        return self._items_by_batch()

    def _key(self, key: bytes) -> ctypes.Array[ctypes.c_char]:
        if len(key) != self.key_size:
            raise BugError(f"map {self.name}: key of {len(key)} bytes, not {self.key_size}")
        return ctypes.create_string_buffer(key, len(key))

    def _element(
        self,
        command: int,
        key: ctypes.Array[ctypes.c_char] | None,
        value: int,
        *,
        tolerate_absence: bool = True,
    ) -> bool:
        where = 0 if key is None else ctypes.addressof(key)
        try:
            _bpf(command, _ELEMENT.pack(self.fd, where, value, 0))
        except OSError as error:
            if tolerate_absence and error.errno == errno.ENOENT:
                return False
            raise _translate(error, f"map {self.name}, command {command}") from error
        return True

    def _items_by_batch(self) -> dict[bytes, bytes]:
        count = min(self.max_entries, _BATCH_ENTRIES)
        keys = ctypes.create_string_buffer(count * self.key_size)
        values = ctypes.create_string_buffer(count * self.value_size)
        position = ctypes.create_string_buffer(max(self.key_size, 8))
        found: dict[bytes, bytes] = {}
        start, more = 0, True
        while more:
            got, more = self._batch(start, position, keys, values, count)
            found.update(self._split(keys.raw, values.raw, got))
            start = ctypes.addressof(position)
        return found

    def _batch(
        self,
        start: int,
        position: ctypes.Array[ctypes.c_char],
        keys: ctypes.Array[ctypes.c_char],
        values: ctypes.Array[ctypes.c_char],
        count: int,
    ) -> tuple[int, bool]:
        attr = ctypes.create_string_buffer(
            _BATCH.pack(
                start,
                ctypes.addressof(position),
                ctypes.addressof(keys),
                ctypes.addressof(values),
                count,
                self.fd,
                0,
                0,
            ),
            _BATCH.size,
        )
        number = _SYSCALL[platform.machine()]
        result = _libc.syscall(number, _MAP_LOOKUP_BATCH, attr, _BATCH.size)
        code = ctypes.get_errno() if result < 0 else 0
        if code not in (0, errno.ENOENT):  # ENOENT: that was the last batch
            error = OSError(code, os.strerror(code))
            raise _translate(error, f"map {self.name}, lookup batch") from None
        return int(_BATCH.unpack(attr.raw)[4]), code == 0

    def _split(self, keys: bytes, values: bytes, count: int) -> Iterator[tuple[bytes, bytes]]:
        for i in range(count):
            key = keys[i * self.key_size : (i + 1) * self.key_size]
            yield key, values[i * self.value_size : (i + 1) * self.value_size]


def _info(fd: int, room: int) -> bytes:
    info = ctypes.create_string_buffer(room)
    try:
        _bpf(_INFO_BY_FD, _INFO.pack(fd, room, ctypes.addressof(info)))
    except OSError as error:
        raise _translate(error, f"information about descriptor {fd}") from error
    return info.raw


def map_of(fd: int) -> Map:
    """Return the map behind a descriptor; the descriptor stays the caller's."""
    kind, _id, key, value, entries, _flags, name = _MAP_INFO.unpack_from(_info(fd, 80))
    return Map(
        fd=fd,
        name=name.split(b"\0")[0].decode(),
        type=kind,
        key_size=key,
        value_size=value,
        max_entries=entries,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramInfo:
    """What the kernel says of a loaded program."""

    id: int
    name: str
    tag: str  # of the instructions: equal programs have equal tags
    verified_instructions: int  # how many the verifier walked; 1 000 000 is its limit


def program_info(fd: int) -> ProgramInfo:
    """Return what the kernel says of the program behind a descriptor."""
    info = _info(fd, 256)
    _type, number = struct.unpack_from("=II", info)
    (verified,) = struct.unpack_from("=I", info, _PROG_INFO_VERIFIED)
    name = info[_PROG_INFO_NAME : _PROG_INFO_NAME + 16].split(b"\0")[0].decode()
    return ProgramInfo(id=number, name=name, tag=info[8:16].hex(), verified_instructions=verified)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What a program made of a packet."""

    __test__ = False  # pytest takes every Test… for its own

    verdict: int
    packet: bytes
    context: bytes
    duration_ns: int  # the mean of the repetitions


def run_program(fd: int, packet: bytes, *, context: bytes = b"", repeat: int = 1) -> TestRun:
    """Run a loaded program on a packet, outside of any link (BPF_PROG_TEST_RUN).

    `context` is a struct __sk_buff; the kernel takes mark, priority, ifindex, cb, tstamp and the
    GSO fields of it. Raises UsageError where the kernel refuses packet or context.
    """
    given = ctypes.create_string_buffer(packet, len(packet))
    result = ctypes.create_string_buffer(len(packet) + _TEST_RUN_ROOM)
    before = ctypes.create_string_buffer(context, max(len(context), 1))
    after = ctypes.create_string_buffer(max(len(context), 1))
    attr = _TEST_RUN.pack(
        fd,
        0,
        len(packet),
        len(result),
        ctypes.addressof(given),
        ctypes.addressof(result),
        repeat,
        0,
        len(context),
        len(context),
        ctypes.addressof(before) if context else 0,
        ctypes.addressof(after) if context else 0,
        0,
        0,
        0,
    )
    try:
        _, filled = _bpf(_PROG_TEST_RUN, attr)
    except OSError as error:
        raise _test_run_error(error, len(packet)) from error
    answer = _TEST_RUN.unpack(filled)
    return TestRun(
        verdict=answer[1],
        packet=result.raw[: answer[3]],
        context=after.raw[: len(context)],
        duration_ns=answer[7],
    )


def _test_run_error(error: OSError, length: int) -> VpcError:
    what = f"test run with a packet of {length} bytes"
    if error.errno == errno.EINVAL:
        remedy = "whole Ethernet and IP headers are needed, and at most about a page"
        return UsageError(f"{what}: EINVAL; {remedy}", code="EINVAL")
    return _translate(error, what)


def pin(fd: int, path: Path) -> None:
    """Give a program or map a name in bpffs, which keeps it alive. ConflictError if it exists."""
    where = ctypes.create_string_buffer(os.fsencode(path))
    try:
        _bpf(_OBJ_PIN, _PIN.pack(ctypes.addressof(where), fd, 0))
    except OSError as error:
        raise _translate(error, f"pin to {path}") from error


def open_pinned(path: Path) -> int | None:
    """Return a descriptor, the caller's to close, of what is pinned at `path`; None if nothing."""
    where = ctypes.create_string_buffer(os.fsencode(path))
    try:
        return _bpf(_OBJ_GET, _PIN.pack(ctypes.addressof(where), 0, 0))[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise _translate(error, f"open pin {path}") from error
