"""When is the next look at an ENI worth a call, while the cloud attaches or detaches it?

    asked ──────────────────► 0.9 x the shortest of late ── small steps ──► twice that ── larger ──►
           nobody looks: it has never been so soon

What the cloud took of late tells when it can be ready, so that few calls find it shortly after it
is. A cloud that becomes faster is followed, a tenth at a time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

_KEPT = 10  # durations of late
_FIRST_S, _LAST_S = 0.1, 3.0
_PATIENCE = 0.1  # of the time that passed already, where nothing is known
_EARLY = 0.9  # of the shortest duration: the first look
_FINE_S, _FINE = 0.03, 0.04  # about the time when it should be there


class Work(Enum):
    """What the cloud has been asked for."""

    ATTACH = "attach"
    DETACH = "detach"


@dataclass(frozen=True, slots=True)
class Kind:
    """What takes about the same time."""

    work: Work
    is_member: bool


class Pace:
    """What is known of how long the cloud takes."""

    def __init__(self) -> None:
        self._took: dict[Kind, deque[float]] = {}

    def learn(self, kind: Kind, took_s: float) -> None:
        """Note how long something took until it was seen."""
        self._took.setdefault(kind, deque(maxlen=_KEPT)).append(took_s)

    def next_s(self, kind: Kind | None, passed_s: float) -> float:
        """Return in how many seconds to look, `passed_s` after asking; None: for anything else."""
        took = self._took.get(kind) if kind is not None else None
        if not took:
            return min(max(_FIRST_S, passed_s * _PATIENCE), _LAST_S)
        least_s = min(took)
        if passed_s < least_s * _EARLY:
            return min(max(_FINE_S, least_s * _EARLY - passed_s), _LAST_S)
        share = _FINE if passed_s < 2 * least_s else _PATIENCE
        return min(max(_FINE_S, passed_s * share), _LAST_S)
