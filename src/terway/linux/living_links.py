"""How does a program get to a link that carries packets, without one of them being lost?

To add a qdisc, clsact too, the kernel stops the link's queues for some milliseconds, and drops what
is sent by it meanwhile (net/sched/sch_api.c, qdisc_graft). From Linux 6.6 on a program has a place
without any qdisc (tcx). It goes with the link and stays when terwayd goes, as a filter does:
nothing is pinned. Blocking. Source: bpf(2), BPF_PROG_ATTACH; include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from terway.linux.bpf_call import bpf, translate, try_bpf
from terway.linux.bpf_find import open_program
from terway.linux.bpf_program import program_info
from terway.linux.netlink.traffic import Hook

_ATTACH, _DETACH, _QUERY = 8, 9, 16
_TYPE = {Hook.INGRESS: 46, Hook.EGRESS: 47}
_REPLACE, _BEFORE = 1 << 2, 1 << 3
# device, program, type, flags, replaced program, relative, revision
_PLACE = struct.Struct("=IIIIIIQ")
# device, type, query flags, attach flags, numbers, count, links and flags of each, revision
_ASKED = struct.Struct("=IIIIQIxxxxQQQQ")
_MOST = 16
_LOOPBACK = 1  # its number in every namespace


def put(ifindex: int, hook: Hook, program_fd: int, name: str) -> bool:
    """Have a program see the link's packets first; one of its name is exchanged. Idempotent.

    Return False where the kernel cannot.
    """
    own = program_info(program_fd).id
    old = next(programs(ifindex, hook, name), None)
    if old == own:
        return True
    replaced = None if old is None else open_program(old)
    flags = _BEFORE if replaced is None else _REPLACE
    attr = _PLACE.pack(ifindex, program_fd, _TYPE[hook], flags, replaced or 0, 0, 0)
    try:
        bpf(_ATTACH, attr)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return False
        raise translate(error, f"attach {name} to device {ifindex}") from error
    finally:
        if replaced is not None:
            os.close(replaced)
    return True


def is_supported() -> bool:
    """Return whether the kernel has such places: asked of the loopback link."""
    attr = _ASKED.pack(_LOOPBACK, _TYPE[Hook.INGRESS], 0, 0, 0, 0, 0, 0, 0, 0)
    return try_bpf(_QUERY, attr)[0] == 0


def programs(ifindex: int, hook: Hook, name: str) -> Iterator[int]:
    """Yield the numbers of the programs of a name that the link has this way."""
    for number in _numbers(ifindex, hook):
        fd = open_program(number)
        if fd is None:
            continue
        try:
            is_named = program_info(fd).name == name[:15]
        finally:
            os.close(fd)
        if is_named:
            yield number


def _numbers(ifindex: int, hook: Hook) -> tuple[int, ...]:
    found = (ctypes.c_uint32 * _MOST)()
    attr = _ASKED.pack(ifindex, _TYPE[hook], 0, 0, ctypes.addressof(found), _MOST, 0, 0, 0, 0)
    result, filled = try_bpf(_QUERY, attr)
    count = _ASKED.unpack(filled)[5] if result == 0 else 0
    return tuple(found[:count])


def remove(ifindex: int, hook: Hook, name: str) -> bool:
    """Take the programs of a name from a link; return whether there were any."""
    numbers = tuple(programs(ifindex, hook, name))
    for number in numbers:
        fd = open_program(number)
        if fd is None:
            continue
        try:
            bpf(_DETACH, _PLACE.pack(ifindex, fd, _TYPE[hook], 0, 0, 0, 0))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise translate(error, f"detach {name} from device {ifindex}") from error
        finally:
            os.close(fd)
    return bool(numbers)
