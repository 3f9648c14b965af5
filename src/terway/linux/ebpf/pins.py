"""What of the data path outlives a terwayd, and where is it? Names in bpffs. Blocking, but fast.

    /sys/fs/bpf/terway/<LAYOUT>/<map>         the maps, and `description`: their structs
    /sys/fs/bpf/terway/programs/<digest>/     the programs, by entry point (`pinned_programs`)
    /sys/fs/bpf/terway/links/<ifindex>-<hook> links of long-lived devices (tcx)
    /sys/fs/bpf/terway/<others>/              of other rooms: sockets' links

Filters of pods' links need no pin: they stay with the link.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from terway.linux.bpf import Map, map_of, open_pinned, pin
from terway.model.errors import UsageError

BPFFS = Path("/sys/fs/bpf")
ROOT = BPFFS / "terway"
PROGRAMS = "programs"
_MOUNTS = Path("/proc/self/mounts")

_libc = ctypes.CDLL(None, use_errno=True)


def ensure_bpffs(path: Path = BPFFS) -> None:
    """Mount a BPF file system where there is none. Raises UsageError where that is refused."""
    if is_bpffs(path):
        return
    if _libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=700") != 0:
        why = os.strerror(ctypes.get_errno())
        text = f"{path} is no BPF file system, and none can be mounted there: {why}"
        raise UsageError(f"{text}; mount -t bpf bpf {path}", field=str(path))


def is_bpffs(path: Path) -> bool:
    """Return whether a BPF file system is mounted at `path` or above."""
    lines = (line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines())
    places = {Path(words[1]): words[2] for words in lines}  # the last mount of a place counts
    nearest = next((one for one in (path, *path.parents) if one in places), None)
    return nearest is not None and places[nearest] == "bpf"


class Pins:
    """The names below `root`."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """Return the folder of everything that is ours."""
        return self._root

    @property
    def links(self) -> Path:
        """Return the folder of the links of devices."""
        return self._root / "links"

    def folder(self, name: str) -> Path:
        """Return the folder of another room's pins."""
        return self._root / name

    def layouts(self) -> tuple[int, ...]:
        """Return the layouts of which maps are pinned, the highest first."""
        if not self._root.is_dir():
            return ()
        found = (int(one.name) for one in self._root.iterdir() if one.name.isdecimal())
        return tuple(sorted(found, reverse=True))

    def open_maps(self, layout: int) -> dict[str, Map]:
        """Return the pinned maps of a layout; their descriptors are the caller's to close."""
        folder = self._root / str(layout)
        found: dict[str, Map] = {}
        for one in sorted(folder.iterdir()) if folder.is_dir() else ():
            fd = open_pinned(one)
            if fd is not None:
                found[one.name] = map_of(fd)
        return found

    def keep(self, layout: int, maps: Mapping[str, Map]) -> None:
        """Have these maps, and none else, under the layout's names.

        A name that was another map's is taken over in one step, so that a crash leaves one or the
        other.
        """
        folder = self._root / str(layout)
        folder.mkdir(parents=True, exist_ok=True)
        for name, one in maps.items():
            draft = folder / f"{name}-new"
            draft.unlink(missing_ok=True)
            pin(one.fd, draft)
            draft.rename(folder / name)
        _remove_all(one for one in folder.iterdir() if one.name not in maps)

    def drop(self, layout: int) -> None:
        """Forget the maps of a layout; they go with the last program that uses them."""
        folder = self._root / str(layout)
        if folder.is_dir():
            _remove_all(folder.iterdir())
            folder.rmdir()

    def forget(self) -> None:
        """Remove the root, which must be empty of everything but empty folders."""
        if not self._root.is_dir():
            return
        for one in self._root.iterdir():
            if one.is_dir() and not any(one.iterdir()):
                one.rmdir()
        if not any(self._root.iterdir()):
            self._root.rmdir()


def _remove_all(pins: Iterable[Path]) -> None:
    for one in tuple(pins):
        one.unlink()
