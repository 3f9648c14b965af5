"""How is a program put at a hook of a device that stays: an ENI, eth0? By a link that is pinned.

    device ◄── link ── program        beside the links of others, in an order of its own
                │
       pin: links/<ifindex>-<hook>    keeps it when terwayd goes; its program is exchanged in place

From Linux 6.6 on; else filters of clsact do it (`hooks`). Making a link takes 4 to 16 ms, for it
waits for every CPU: that is why pods' links have filters. Blocking; for workers.
Source: bpf(2), BPF_LINK_CREATE; include/uapi/linux/bpf.h, BPF_TCX_INGRESS.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from terway.linux.bpf import open_pinned, pin
from terway.linux.bpf_call import bpf, info, translate
from terway.linux.netlink.traffic import Hook
from terway.model.errors import VpcError

_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34
_ATTACH_TYPE = {Hook.INGRESS: 46, Hook.EGRESS: 47}
_CREATE = struct.Struct("=IIIIIxxxxQ")  # program, device, attach type, flags, relative, revision
_BEFORE = 1 << 3  # BPF_F_BEFORE, relative to nobody: the first of all
_UPDATE = struct.Struct("=IIII")  # link, new program, flags, old program
_DETACH = struct.Struct("=I")
_LINK_INFO = struct.Struct("=IIIxxxxII")  # type, number, program, ifindex, attach type
_LINK_INFO_BYTES = 64


def attach(folder: Path, ifindex: int, hook: Hook, program_fd: int) -> None:
    """Have a program see a device's packets; the one that was there is exchanged. Idempotent.

    Raises BugError (code EINVAL) where the kernel has no such links.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = _pin_of(folder, ifindex, hook)
    if _exchange(where, program_fd):
        return
    where.unlink(missing_ok=True)
    attr = _CREATE.pack(program_fd, ifindex, _ATTACH_TYPE[hook], _BEFORE, 0, 0)
    try:
        fd = bpf(_LINK_CREATE, attr)[0]
    except OSError as error:
        raise translate(error, f"attach to {hook.name.lower()} of device {ifindex}") from error
    try:
        pin(fd, where)
    finally:
        os.close(fd)


def attached(folder: Path, ifindex: int, hook: Hook) -> int | None:
    """Return the number of the program that our link has at the hook; None where it is none."""
    fd = open_pinned(_pin_of(folder, ifindex, hook))
    if fd is None:
        return None
    try:
        _type, _number, program, device, _hook = _LINK_INFO.unpack_from(info(fd, _LINK_INFO_BYTES))
    finally:
        os.close(fd)
    return int(program) if device == ifindex else None


def detach(folder: Path, ifindex: int, hook: Hook) -> None:
    """Take our program from a hook. Idempotent."""
    remove(_pin_of(folder, ifindex, hook))


def remove(where: Path) -> None:
    """Detach what is pinned, and unpin it: else the kernel would detach it some time later."""
    fd = open_pinned(where)
    if fd is None:
        return
    try:
        bpf(_LINK_DETACH, _DETACH.pack(fd))
    except OSError as error:
        if error.errno != errno.ENOLINK:  # its device is gone
            raise translate(error, f"detach {where}") from error
    finally:
        os.close(fd)
    where.unlink(missing_ok=True)


def is_supported(ifindex: int, program_fd: int) -> bool:
    """Return whether the kernel has such links: asked by making one, which goes at once."""
    attr = _CREATE.pack(program_fd, ifindex, _ATTACH_TYPE[Hook.INGRESS], _BEFORE, 0, 0)
    try:
        os.close(bpf(_LINK_CREATE, attr)[0])
    except OSError:
        return False
    return True


def _pin_of(folder: Path, ifindex: int, hook: Hook) -> Path:
    return folder / f"{ifindex}-{hook.name.lower()}"


def _exchange(where: Path, program_fd: int) -> bool:
    """Give the pinned link another program; return whether there is one, of a device that is."""
    try:
        fd = open_pinned(where)
    except VpcError:
        return False
    if fd is None:
        return False
    try:
        bpf(_LINK_UPDATE, _UPDATE.pack(fd, program_fd, 0, 0))
    except OSError as error:
        if error.errno == errno.ENOLINK:
            return False
        raise translate(error, f"exchange the program of {where}") from error
    finally:
        os.close(fd)
    return True
