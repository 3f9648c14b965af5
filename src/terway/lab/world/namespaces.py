"""Which network namespace may become an instance? None that is somebody's way to the network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from terway.linux.netns import open_netns
from terway.model.errors import ConflictError, UsageError

_NAMED = Path("/run/netns")  # where ip-netns(8) keeps them
_MACHINE = "the machine's own; make one for it: ip netns add NAME"


def find_netns(text: str) -> str:
    """Return the path that the user means: a path, or a name that ``ip netns`` lists.

    UsageError when no network namespace is there.
    """
    named = _NAMED / text
    path = str(named) if "/" not in text and named.exists() else text
    try:
        with open_netns(path):
            return path
    except ConflictError as error:
        raise UsageError(
            f"{text}: {error}; give a path, or a name that ip netns lists", field="netns"
        ) from error


def check_is_free(fd: int, taken: Mapping[str, str]) -> None:
    """Refuse the machine's own namespace, and those at the paths of `taken`, by what they are."""
    own = {"/proc/self/ns/net": _MACHINE, "/proc/1/ns/net": _MACHINE}
    for path, what in {**own, **taken}.items():
        if _identity([fd]) & _identity([path]):
            raise UsageError(f"this network namespace is {what}", field="netns")


def _identity(places: Iterable[int | str]) -> set[tuple[int, int]]:
    found = set()
    for place in places:
        try:
            facts = os.stat(place)
        except OSError:  # ended meanwhile
            continue
        found.add((facts.st_dev, facts.st_ino))
    return found
