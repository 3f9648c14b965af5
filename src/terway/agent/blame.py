"""Who changed it? As far as the kernel tells, and not a word further.

A notification names the netlink port of whoever asked for the change: its process id as a rule, but
that of its own pid namespace, so nobody is named for what is changed in a pod. The kernel names
nobody for settings (sysctl) and for most changes of links; then what can be said is which programs
run here that are known to change networks on their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from terway.linux.foreign import Change

UNKNOWN = "somebody unknown"
# How old a notification may be for what is mended now to be its work.
_MEMORY_S = 15.0
_KEPT = 64
# By the name that /proc/<pid>/comm has for them: 15 bytes at most.
_MEDDLERS = frozenset(
    {
        "NetworkManager",
        "systemd-network",
        "systemd-udevd",
        "nm-cloud-setup",
        "calico-node",
        "cilium-agent",
        "kube-router",
        "firewalld",
        "dhclient",
        "dhcpcd",
    }
)


@dataclass(frozen=True, slots=True)
class _Deed:
    at: float
    kind: str
    process: int
    name: str


def running_programs() -> Iterable[str]:
    """Return the names of the processes that can be seen."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "comm").read_text().strip()
            except OSError:
                continue  # it has ended


class Blame:
    """Remembers who changed what on the node lately. `now` is monotonic seconds.

    `name_of` tells what a process is called: nothing once it has ended, None when it cannot be it.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        name_of: Callable[[int], str | None],
        running: Callable[[], Iterable[str]] = running_programs,
    ) -> None:
        self._now = now
        self._name_of = name_of
        self._running = running
        self._deeds: deque[_Deed] = deque(maxlen=_KEPT)

    def note(self, change: Change) -> None:
        """Remember who made `change`; their name is asked for while they are most likely alive."""
        if not change.process:
            return
        last = self._deeds[-1] if self._deeds else None
        is_same = last is not None and last.process == change.process
        name = last.name if last is not None and is_same else self._name_of(change.process)
        if name is not None:
            self._deeds.append(_Deed(self._now(), change.kind.value, change.process, name))

    def who(self, kind: str) -> str:
        """Return who changed objects of `kind` on the node lately, in words."""
        since = self._now() - _MEMORY_S
        deeds = {one.process: one for one in self._deeds if one.at >= since and one.kind == kind}
        if deeds:
            return " or ".join(
                f"{one.name} (process {one.process})"
                if one.name
                else f"a program that has ended (process {one.process})"
                for one in deeds.values()
            )
        suspects = sorted(_MEDDLERS & set(self._running()))
        if suspects:
            return f"{UNKNOWN} ({', '.join(suspects)} run here)"
        return UNKNOWN
