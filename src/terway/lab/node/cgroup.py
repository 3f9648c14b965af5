"""Which processes are a node's? Those of a cgroup of its own, where the machine lets it have one.

    <the machine's cgroup2>/terway-lab/<lab>-<node>-<process id of the launcher>

All nodes of a lab share one kernel. What a node's terwayd attaches to a cgroup must see its own
node's processes, and not the machine's: so init goes into one before it starts anything, and its
launcher removes it when the node has ended. Empty ones of labs that were killed go with the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from terway.lab.node.spec import NodeSpec

ENVIRONMENT = "TERWAY_CGROUP"
ABSENT = (
    "/sys/fs/cgroup/none-for-nodes-of-labs"  # terwayd takes the machine's if it is told nothing
)

_PLACES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_EVERY_CGROUP2 = "cgroup.controllers"
_ATTEMPTS = 5  # another lab may sweep the folder before somebody is in it
# Another node's sweep, before we were in it: the folder is gone, or was when it was opened.
_SWEPT = (errno.ENOENT, errno.ENODEV)


def enter(spec: NodeSpec, launcher: int) -> None:
    """Put the calling process, and all it will start, into the node's cgroup; say where it is.

    A machine that does not allow it has none: its nodes' processes are not told from others then.
    """
    os.environ[ENVIRONMENT] = ABSENT
    for place in _places(spec, launcher):
        for _attempt in range(_ATTEMPTS):
            try:
                place.mkdir(parents=True, exist_ok=True)
                (place / "cgroup.procs").write_text("0", encoding="ascii")
            except OSError as error:
                if error.errno in _SWEPT:
                    continue
                break
            os.environ[ENVIRONMENT] = str(place)
            _sweep(place.parent)
            return


def joining(spec: NodeSpec, launcher: int) -> list[str]:
    """Return the words of a command line that make what follows them one of the node's processes.

    To be run inside the node, whose cgroup then has it, as it has what its init started.
    """
    held = next((place for place in _places(spec, launcher) if place.is_dir()), None)
    script = '{ echo 0 >"$0"; } 2>/dev/null; exec "$@"'
    return [] if held is None else ["sh", "-c", script, f"{held}/cgroup.procs"]


def leave(spec: NodeSpec, launcher: int) -> None:
    """Remove the cgroup of a node whose processes have all ended, and the folder of the last."""
    for place in _places(spec, launcher):
        _remove(place)
        _remove(place.parent)


def _places(spec: NodeSpec, launcher: int) -> Iterator[Path]:
    for root in map(Path, _PLACES):
        if (root / _EVERY_CGROUP2).exists():
            yield root / "terway-lab" / f"{spec.lab}-{spec.name}-{launcher}"


def _sweep(folder: Path) -> None:
    """Remove those where nobody is; the kernel refuses the others."""
    for one in tuple(folder.iterdir()):
        if one.is_dir():
            _remove(one)


def _remove(place: Path) -> None:
    with suppress(OSError):
        place.rmdir()
