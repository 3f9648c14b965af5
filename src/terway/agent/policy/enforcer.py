"""What must a packet filter be able to do for terwayd? Blocking: called in a worker thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from terway.agent.policy.seats import Seat
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled

Place = str  # a network namespace by its path; "" is the node's own; or MAPS
MAPS: Place = "maps of the data path"
SeatMap = Mapping[PodKey, tuple[Seat, ...]]


class Enforcer(Protocol):
    """The filters of this node: one at the node, one in each pod that has an ENI itself.

    What fails at the node raises VpcError, what fails in a pod is in `refused`; what is in force
    then is what was, or what was to be, never something in between.
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

    def renew(self, compiled: Compiled, seats: SeatMap, places: Collection[Place]) -> None:
        """Have `compiled` in force in some places, whatever was there."""

    def disturbed(self) -> tuple[Place, ...]:
        """Return the places that others have changed, and those to be tried again.

        Cheap enough for every second.
        """

    def read(self, places: Collection[Place] | None = None) -> Kept:
        """Return what is in force (in some places), as it was read back."""

    @property
    def refused(self) -> Mapping[PodKey, str]:
        """Return the pods inside of which policies are not in force now, and why."""

    @property
    def notices(self) -> Mapping[PodKey, str]:
        """Return the pods that hold what is ours, and what was done about it."""

    def remove(self) -> bool:
        """Remove what is at the node; return whether there was something."""


class Kept(Protocol):
    """What was read back, once."""

    def wrong(self, compiled: Compiled) -> Mapping[Place, tuple[str, ...]]:
        """Return in words where it says something else than `compiled`, by place.

        May take seconds of CPU.
        """
