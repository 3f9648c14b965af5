"""Services for the node's own processes: the programs for sockets, loaded and attached. Blocking.

The maps of services are the data path's, by their descriptors; `sockets`, which socket reached
whom, is these programs' own and goes on with the next ones that are loaded over it.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from terway.bpf_objects import object_path
from terway.linux.ebpf import cgroup
from terway.linux.ebpf.cgroup import SocketCall
from terway.linux.ebpf.sock_contract import CONSTANTS
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.model.errors import BugError

OBJECT = object_path("sock")
SOCKETS = "sockets"
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h; Linux 5.14
_NO_SIZES: Mapping[str, int] = MappingProxyType({})

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPrograms:
    """The loaded programs, their maps, and whether they can say "connection refused"."""

    loaded: LoadedObject
    can_refuse: bool  # else a service without endpoints is "operation not permitted"

    def attach(self, to: Path, folder: Path) -> None:
        """Have the processes of a cgroup served; pins are in `folder`. Idempotent."""
        programs = {call: self.loaded.programs[f"terway_{call.word}"] for call in SocketCall}
        cgroup.attach(to, programs, folder)


@contextmanager
def open_sockets(
    maps: Mapping[str, int], *, max_entries: Mapping[str, int] = _NO_SIZES
) -> Iterator[SocketPrograms]:
    """Load the programs over `maps` (descriptors by name) for the block.

    They serve the network namespace of the calling thread. What is attached or pinned in the
    block stays. Takes some 30 ms. Raises BugError where the verifier refuses them.
    """
    cookie = _own_netns()
    try:
        programs = _load(cookie, maps, max_entries, can_refuse=True)
    except BugError:  # before 5.18; without that helper it must do
        programs = _load(cookie, maps, max_entries, can_refuse=False)
    with closing(programs.loaded):
        yield programs


def _load(
    cookie: int, maps: Mapping[str, int], sizes: Mapping[str, int], *, can_refuse: bool
) -> SocketPrograms:
    constants = CONSTANTS.pack(node_netns=cookie, can_refuse=can_refuse)
    spec = read_object(OBJECT)
    loaded = load_object(spec, constants=constants, max_entries=sizes, reuse=maps)
    return SocketPrograms(loaded=loaded, can_refuse=can_refuse)


def _own_netns() -> int:
    """Return the cookie of the thread's network namespace; 0 where a kernel tells nobody.

    The programs take the machine's first namespace then, which is the node's outside of labs.
    """
    cookie, size = ctypes.c_uint64(), ctypes.c_uint(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        at = ctypes.byref(cookie), ctypes.byref(size)
        if _libc.getsockopt(asked.fileno(), socket.SOL_SOCKET, _SO_NETNS_COOKIE, *at) != 0:
            return 0
    return cookie.value
