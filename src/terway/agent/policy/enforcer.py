"""What must a packet filter be able to do for terwayd? Blocking: called in a worker thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from terway.agent.policy.seats import Seat
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled

SeatMap = Mapping[PodKey, tuple[Seat, ...]]


class Enforcer(Protocol):
    """The filters of this node: one at the node, one in each pod that has an ENI itself.

    What fails raises VpcError; what is in force then is what was, or what was to be, never
    something in between.
    """

    def adopt(self, compiled: Compiled, seats: SeatMap) -> None:
        """Have `compiled` in force and nothing else, whatever was there, in one switch a place."""

    def apply(self, change: Change, compiled: Compiled, seats: SeatMap) -> None:
        """Go from what is in force to `compiled`, by what is different."""

    def is_as_left(self) -> bool:
        """Return whether nobody but us has changed anything; cheap enough for every few seconds."""

    def differences(self, compiled: Compiled, seats: SeatMap) -> tuple[str, ...]:
        """Read back what is in force, and return in words where it is not `compiled`."""

    def remove(self, seats: SeatMap) -> bool:
        """Remove all that is ours; return whether there was something."""
