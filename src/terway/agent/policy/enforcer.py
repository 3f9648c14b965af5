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

    def apply(self, change: Change, seats: SeatMap) -> None:
        """Take what is different into force, for the pods as they are seated now."""

    def set_aside(self) -> bool:
        """Return whether changes have left something behind, which `clear_away` may remove."""

    def let_out(self) -> None:
        """Return when no packet is in what was set aside. Takes no turn: changes may go on."""

    def clear_away(self) -> None:
        """Remove what was set aside before all packets were let out."""

    def is_as_left(self) -> bool:
        """Return whether nobody has changed anything since; cheap enough for every few seconds."""

    def read(self) -> Kept:
        """Return what is in force, as it was read back."""

    def remove(self) -> bool:
        """Remove what is at the node; return whether there was something."""


class Kept(Protocol):
    """What was read back, once."""

    def differences(self, compiled: Compiled) -> tuple[str, ...]:
        """Return in words where it says something else than `compiled`. May take seconds of CPU."""
