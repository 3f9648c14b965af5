"""How bpf(2) is called, and what its refusals mean. Source: include/uapi/linux/bpf.h."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import time

from terway.model.errors import BugError, ConflictError, TransientError, UsageError, VpcError

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_INFO_BY_FD = 15
_INFO = struct.Struct("=IIQ")  # fd, length, address

# Maps without preallocation take their entries from a small reserve (Linux 6.1, bpf_mem_alloc),
# which an interrupt refills: at once on most machines, with the next timer tick, 10 ms at most,
# where the architecture has no interrupt for it.
_REFILLED_WITHIN_S = (0.002, 0.01, 0.02, 0.05)

_libc = ctypes.CDLL(None, use_errno=True)


def try_bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """Call bpf(2); return its result, or the negative errno, and the attribute as it is then."""
    buffer = ctypes.create_string_buffer(attr, len(attr))
    number = _SYSCALL[platform.machine()]
    result: int = _libc.syscall(number, command, buffer, len(attr))
    return (-ctypes.get_errno() if result < 0 else result), buffer.raw


def bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    """Call bpf(2); return its result and the attribute as the kernel left it, or raise OSError.

    Waits some milliseconds for memory where there is none at once.
    """
    result, filled = try_bpf(command, attr)
    for pause_s in _REFILLED_WITHIN_S:
        if result != -errno.ENOMEM:
            break
        time.sleep(pause_s)
        result, filled = try_bpf(command, attr)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result, filled


def translate(error: OSError, what: str) -> VpcError:
    """Return the error for a refused call."""
    name = errno.errorcode.get(error.errno or 0, "")
    text = f"{what}: {name} ({error.strerror})"
    if error.errno in (errno.ENOENT, errno.EEXIST):
        return ConflictError(text, code=name)
    if error.errno in (errno.EPERM, errno.EACCES):
        return UsageError(f"{text}; run with CAP_BPF and CAP_NET_ADMIN", code=name)
    if error.errno in (errno.ENOMEM, errno.EAGAIN, errno.EBUSY, errno.E2BIG, errno.ENOSPC):
        return TransientError(text, code=name)  # E2BIG: the map is full
    return BugError(text, code=name)


def info(fd: int, room: int) -> bytes:
    """Return up to `room` bytes of what the kernel says of a program or map."""
    found = ctypes.create_string_buffer(room)
    try:
        bpf(_INFO_BY_FD, _INFO.pack(fd, room, ctypes.addressof(found)))
    except OSError as error:
        raise translate(error, f"information about descriptor {fd}") from error
    return found.raw
