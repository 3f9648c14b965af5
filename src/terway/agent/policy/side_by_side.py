"""Two packet filters at once: where somebody else translates services, each sees a part.

    pod ─► program: all but what is for a service ─► VPC, pods
            └─ for a service ─► node's stack ─► translated by kube-proxy ─► tables: the real ends

Both have all of what policies say; of a packet that meets both, each says the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from terway.agent.policy.enforcer import Enforcer, Kept, Place, SeatMap
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled


class SideBySide:
    """Enforcers with places of their own. The first that fails keeps the next from being asked."""

    def __init__(self, *enforcers: Enforcer) -> None:
        self._enforcers = enforcers

    def adopt(self, compiled: Compiled, seats: SeatMap) -> None:
        """Have `compiled` in force and nothing else, in all of them."""
        for one in self._enforcers:
            one.adopt(compiled, seats)

    def apply(self, change: Change, seats: SeatMap) -> None:
        """Take what is different into force in all of them."""
        for one in self._enforcers:
            one.apply(change, seats)

    def set_aside(self) -> bool:
        """Return whether changes have left something behind anywhere."""
        found = [one.set_aside() for one in self._enforcers]
        return any(found)

    def let_out(self) -> None:
        """Return when no packet is in what was set aside."""
        for one in self._enforcers:
            one.let_out()

    def clear_away(self) -> None:
        """Remove what was set aside before all packets were let out."""
        for one in self._enforcers:
            one.clear_away()

    def renew(self, compiled: Compiled, seats: SeatMap, places: Collection[Place]) -> None:
        """Have `compiled` in force in some places, whatever was there."""
        for one in self._enforcers:
            one.renew(compiled, seats, places)

    def disturbed(self) -> tuple[Place, ...]:
        """Return the places that others have changed."""
        return tuple(place for one in self._enforcers for place in one.disturbed())

    def read(self, places: Collection[Place] | None = None) -> KeptBySeveral:
        """Return what is in force, as it was read back."""
        return KeptBySeveral(parts=tuple(one.read(places) for one in self._enforcers))

    @property
    def refused(self) -> Mapping[PodKey, str]:
        """Return the pods inside of which policies are not in force now, and why."""
        return {pod: text for one in self._enforcers for pod, text in one.refused.items()}

    @property
    def notices(self) -> Mapping[PodKey, str]:
        """Return the pods that hold what is ours, and what was done about it."""
        return {pod: text for one in self._enforcers for pod, text in one.notices.items()}

    def remove(self) -> bool:
        """Remove what is at the node; return whether there was something."""
        found = [one.remove() for one in self._enforcers]
        return any(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBySeveral:
    """What was read back of each."""

    parts: tuple[Kept, ...]

    def wrong(self, compiled: Compiled) -> Mapping[Place, tuple[str, ...]]:
        """Return in words where they say something else than `compiled`, by place."""
        return {
            place: words for part in self.parts for place, words in part.wrong(compiled).items()
        }
