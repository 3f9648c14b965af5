"""What was the cloud asked? A record of calls, for tests and benchmarks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

MAX_KEPT = 100_000  # calls; the counters go on


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call. `code` is empty for success; `lost`: it was carried out, nobody heard."""

    at: float  # seconds since the epoch
    action: str
    parameters: Mapping[str, str]
    caller: str  # ARN
    code: str = ""
    lost: bool = False

    @property
    def is_mutating(self) -> bool:
        """Whether the call was carried out and may have changed something."""
        return not self.code and not self.action.startswith(("Describe", "List"))


class Calls:
    """The calls, oldest first."""

    def __init__(self) -> None:
        self.all: deque[CallRecord] = deque(maxlen=MAX_KEPT)
        self._counts: Counter[str] = Counter()
        self._recordings: list[Calls] = []

    def add(self, call: CallRecord) -> None:
        """Record a call."""
        self.all.append(call)
        self._counts[call.action] += 1
        for recording in self._recordings:
            recording.add(call)

    def count(self, *actions: str) -> int:
        """Return how many calls of these actions there were; of all, when none is named."""
        return sum(self._counts[action] for action in actions or self._counts)

    def counts(self) -> dict[str, int]:
        """Return the number of calls by action."""
        return dict(self._counts)

    def of(self, action: str) -> list[CallRecord]:
        """Return the calls of an action."""
        return [call for call in self.all if call.action == action]

    @property
    def mutating(self) -> list[CallRecord]:
        """The calls that may have changed something."""
        return [call for call in self.all if call.is_mutating]

    @contextmanager
    def recording(self) -> Iterator[Calls]:
        """Open a record of the calls that are made within the block."""
        inner = Calls()
        self._recordings.append(inner)
        try:
            yield inner
        finally:
            self._recordings.remove(inner)
