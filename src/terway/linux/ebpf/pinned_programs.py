"""Is the very program that is wanted in the kernel already? Then nobody need verify it again.

    <root>/programs/<digest>/<entry point>

The digest is of the object file, its constants and the sizes of its maps. A folder appears whole,
once the maps have their names, and goes before they change: so its programs have those maps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from terway.linux.bpf import open_pinned, pin

_DRAFT = "new"


def digest_of(path: Path, constants: bytes | None, sizes: Mapping[str, int]) -> str:
    """Return what tells one loaded object from another."""
    found = sha256(path.read_bytes())
    found.update(b"" if constants is None else constants)
    found.update(repr(sorted(sizes.items())).encode())
    return found.hexdigest()[:16]


def open_programs(folder: Path, digest: str) -> dict[str, int]:
    """Return the programs of a digest by name; their descriptors are the caller's to close."""
    place = folder / digest
    found = ((one.name, open_pinned(one)) for one in (place.iterdir() if place.is_dir() else ()))
    return {name: fd for name, fd in found if fd is not None}


def keep_programs(folder: Path, digest: str, programs: Mapping[str, int]) -> None:
    """Have these programs under the digest. Idempotent."""
    if (folder / digest).is_dir():
        return
    forget_programs(folder)
    draft = folder / _DRAFT
    draft.mkdir(parents=True)
    for name, fd in programs.items():
        pin(fd, draft / name)
    os.rename(draft, folder / digest)


def forget_programs(folder: Path, *, but: str = "") -> None:
    """Unpin the programs of all digests but one."""
    for place in tuple(folder.iterdir()) if folder.is_dir() else ():
        if place.name == but:
            continue
        for one in tuple(place.iterdir()):
            one.unlink()
        place.rmdir()
