"""Which pod does the user mean? Names are pasted from tables that shorten them."""

from __future__ import annotations

from collections.abc import Iterable

from terway.model.errors import UsageError

ELLIPSIS = "…"


def find_target(target: str, names: Iterable[str]) -> str:
    """Return the one of `names` that `target` is, or abbreviates with one ellipsis.

    UsageError when it abbreviates none of them, or more than one.
    """
    head, ellipsis, tail = target.replace("...", ELLIPSIS).partition(ELLIPSIS)
    if not ellipsis:
        return target
    shortest = len(head) + len(tail)
    found = sorted(
        name
        for name in names
        if name.startswith(head) and name.endswith(tail) and len(name) >= shortest
    )
    if len(found) != 1:
        what = f"could be any of {', '.join(found)}" if found else "abbreviates no pod's name"
        raise UsageError(f"{target} {what}", field="target")
    return found[0]
