"""Where do programs for sockets go, and how does the next terwayd find them again? Blocking.

    cgroup of the node (cgroup2) ◄── link ── program        one for each kind of call
                                      │
                      pin: <folder>/<call>                  keeps it when terwayd goes

A link of a cgroup stands beside those of others and has an owner: nobody takes it away by
attaching. Its program is exchanged in one step, so that no call finds none.
Source: bpf(2), BPF_LINK_CREATE, BPF_LINK_UPDATE, BPF_LINK_DETACH, all of them in Linux 5.10.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from terway.linux.bpf import open_pinned, pin
from terway.linux.bpf_call import bpf, info, translate
from terway.model.errors import UsageError

_LINK_CREATE = 28
_LINK_UPDATE = 29
_LINK_DETACH = 34
_CREATE = struct.Struct("=IIII")  # program, target, attach type, flags
_UPDATE = struct.Struct("=IIII")  # link, new program, flags, old program
_DETACH = struct.Struct("=I")
_LINK_INFO = struct.Struct("=IIIxxxxQI")  # type, number, program, cgroup, attach type
_LINK_INFO_BYTES = 64

# What only cgroup2 has in each of its folders, and what only its first folder lacks.
_EVERY_CGROUP2 = "cgroup.controllers"
_NOT_THE_FIRST = "cgroup.type"
_USUAL_PLACES = tuple(
    map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/run/terway/cgroup2"))
)


class SocketCall(Enum):
    """A call of a socket that a program sees; the value is what bpf(2) calls it."""

    CONNECT4 = 10
    CONNECT6 = 11
    SENDMSG4 = 14
    SENDMSG6 = 15
    RECVMSG4 = 19
    RECVMSG6 = 20
    GETPEERNAME4 = 29
    GETPEERNAME6 = 30

    @property
    def word(self) -> str:
        """Return the name of the call's pin and, after ``terway_``, of its program."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLink:
    """A link that is pinned: to which cgroup, and which program."""

    cgroup: int
    program: int
    call: int


def find_cgroup(wanted: Path | None = None, places: tuple[Path, ...] = _USUAL_PLACES) -> Path:
    """Return the cgroup whose processes are the node's: `wanted`, or the first of all.

    Raises UsageError where there is none: no cgroup2 is mounted, or only a part of it can be seen,
    which would have the node's other processes go without.
    """
    if wanted is not None:
        if not (wanted / _EVERY_CGROUP2).exists():
            raise UsageError(f"{wanted} is not a cgroup2", field="--cgroup")
        return wanted
    seen = [place for place in places if (place / _EVERY_CGROUP2).exists()]
    for place in seen:
        if not (place / _NOT_THE_FIRST).exists():
            return place
    text = (
        f"{seen[0]} is only a part of the node's cgroups; mount the host's /sys/fs/cgroup there"
        if seen
        else f"no cgroup2 at {', '.join(map(str, places))}; mount one, or name it by --cgroup"
    )
    raise UsageError(text, field="--cgroup")


def attach(cgroup: Path, programs: Mapping[SocketCall, int], folder: Path) -> None:
    """Have the calls of all processes in `cgroup` seen by these programs (file descriptors).

    What is pinned in `folder` goes on with the new program; where its cgroup is another or was
    removed, it is made anew. Idempotent. Raises UsageError where the kernel or its owner refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(cgroup) as (target, number):
        for call, program in programs.items():
            where = folder / call.word
            if not _exchange(where, program, number):
                _remove(where)
                _make(target, call, program, where)


def detach(folder: Path) -> None:
    """Take the programs from all calls, at once. Idempotent."""
    for call in SocketCall:
        _remove(folder / call.word)
    if folder.is_dir():
        folder.rmdir()


def attached(folder: Path) -> dict[SocketCall, SocketLink]:
    """Return the links that are pinned in `folder`."""
    found = ((call, _pinned(folder / call.word)) for call in SocketCall)
    return {call: link for call, link in found if link is not None}


@contextmanager
def _opened(cgroup: Path) -> Iterator[tuple[int, int]]:
    """Open the folder of a cgroup for the block; its inode is the cgroup's number."""
    try:
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cgroup {cgroup}: {error.strerror}", field="--cgroup") from error
    try:
        yield fd, os.fstat(fd).st_ino
    finally:
        os.close(fd)


def _pinned(where: Path) -> SocketLink | None:
    fd = open_pinned(where)
    if fd is None:
        return None
    try:
        return _described(fd)
    finally:
        os.close(fd)


def _described(fd: int) -> SocketLink:
    _type, _number, program, cgroup, call = _LINK_INFO.unpack_from(info(fd, _LINK_INFO_BYTES))
    return SocketLink(cgroup=cgroup, program=program, call=call)


def _exchange(where: Path, program: int, cgroup: int) -> bool:
    """Give the pinned link another program; return whether there is one, of that cgroup."""
    fd = open_pinned(where)
    if fd is None:
        return False
    try:
        if _described(fd).cgroup != cgroup:
            return False
        bpf(_LINK_UPDATE, _UPDATE.pack(fd, program, 0, 0))
    except OSError as error:
        if error.errno == errno.ENOLINK:  # the cgroup ended between the two lines
            return False
        raise translate(error, f"exchange the program of {where}") from error
    finally:
        os.close(fd)
    return True


def _make(cgroup: int, call: SocketCall, program: int, where: Path) -> None:
    try:
        fd = bpf(_LINK_CREATE, _CREATE.pack(program, cgroup, call.value, 0))[0]
    except OSError as error:
        raise translate(error, f"attach to {call.word} of a cgroup") from error
    try:
        pin(fd, where)
    finally:
        os.close(fd)


def _remove(where: Path) -> None:
    """Detach and unpin. Without the first, the kernel would detach it some time later."""
    fd = open_pinned(where)
    if fd is None:
        return
    try:
        bpf(_LINK_DETACH, _DETACH.pack(fd))
    except OSError as error:
        raise translate(error, f"detach {where}") from error
    finally:
        os.close(fd)
    where.unlink(missing_ok=True)
