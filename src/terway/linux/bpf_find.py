"""Programs and maps that are in the kernel already, found by their numbers. Blocking, but fast.

What holds a program (a filter on a link) keeps its maps alive too; so nothing has to be pinned,
and everything is gone with the last link. Needs CAP_SYS_ADMIN.
Source: bpf(2), BPF_PROG_GET_FD_BY_ID; include/uapi/linux/bpf.h, struct bpf_prog_info.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from terway.linux.bpf import Map, map_of
from terway.linux.bpf_call import bpf, translate

_PROG_GET_FD_BY_ID = 13
_MAP_GET_FD_BY_ID = 14
_INFO_BY_FD = 15

_BY_ID = struct.Struct("=III")  # number, next number, flags
_INFO = struct.Struct("=IIQ")  # fd, length, address
_PROGRAM_INFO_BYTES = 256
_MAP_COUNT_AT = 52  # nr_map_ids, then map_ids
_MAPS = struct.Struct("=IQ")
_MAPS_MAX = 16


def open_program(number: int) -> int | None:
    """Return a descriptor, the caller's to close, of a loaded program; None when it is gone."""
    return _open(_PROG_GET_FD_BY_ID, number)


def _open(command: int, number: int) -> int | None:
    try:
        return bpf(command, _BY_ID.pack(number, 0, 0))[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise translate(error, f"open eBPF object number {number}") from error


def open_maps(program_fd: int) -> dict[str, Map]:
    """Return the maps of a program by name; their descriptors are the caller's to close."""
    opened = (_open(_MAP_GET_FD_BY_ID, number) for number in _map_numbers(program_fd))
    return {one.name: one for one in (map_of(fd) for fd in opened if fd is not None)}


def _map_numbers(program_fd: int) -> tuple[int, ...]:
    numbers = (ctypes.c_uint32 * _MAPS_MAX)()
    room = ctypes.create_string_buffer(_PROGRAM_INFO_BYTES)
    _MAPS.pack_into(room, _MAP_COUNT_AT, _MAPS_MAX, ctypes.addressof(numbers))
    try:
        bpf(_INFO_BY_FD, _INFO.pack(program_fd, _PROGRAM_INFO_BYTES, ctypes.addressof(room)))
    except OSError as error:
        raise translate(error, "maps of an eBPF program") from error
    (count,) = struct.unpack_from("=I", room, _MAP_COUNT_AT)
    return tuple(numbers[: min(count, _MAPS_MAX)])


@contextmanager
def program_maps(number: int) -> Iterator[dict[str, Map]]:
    """Open the maps of the program with that number for the block; none when it is gone."""
    program = open_program(number)
    if program is None:
        yield {}
        return
    maps: dict[str, Map] = {}
    try:
        maps = open_maps(program)
        yield maps
    finally:
        for fd in (program, *(one.fd for one in maps.values())):
            os.close(fd)
