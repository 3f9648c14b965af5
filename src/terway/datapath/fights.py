"""How often is a thing mended that somebody else keeps changing?

Mended at once, as a rule. Two programs that each undo what the other did would go on for ever, as
fast as they can; so what had to be mended `PATIENCE` times without a rest is fought over, and from
then on mended once in `PAUSE_S` seconds, until it was left alone for `REST_S`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

PATIENCE = 5
PAUSE_S = 30.0
REST_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fights:
    """When each place was mended, the last `PATIENCE` times; times are monotonic seconds."""

    mended: Mapping[Hashable, tuple[float, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def is_fought_over(self, place: Hashable, *, now: float) -> bool:
        """Return whether somebody keeps changing what is at `place`."""
        times = self.mended.get(place, ())
        return len(times) >= PATIENCE and now - times[-1] < REST_S

    def wait_s(self, place: Hashable, *, now: float) -> float:
        """Return how long what is at `place` is to be left as it is; 0 is not at all."""
        if not self.is_fought_over(place, now=now):
            return 0.0
        return max(0.0, self.mended[place][-1] + PAUSE_S - now)

    def after(self, places: Iterable[Hashable], *, now: float) -> Fights:
        """Return what is known once `places` were mended; what was left alone is forgotten."""
        kept = {place: times for place, times in self.mended.items() if now - times[-1] < REST_S}
        for place in places:
            kept[place] = (*kept.get(place, ()), now)[-PATIENCE:]
        return Fights(mended=MappingProxyType(kept))
