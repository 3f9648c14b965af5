"""Who waits for which limit of the cloud, and who is woken as soon as there may be room?

    refused by a limit ──hold──► waits, `for_s` at most ──freed(limit)──► woken: as many as there is
                                        │                  room for, the newest pod first
                                        └─ for_s over ─► tries anyway: others use the limit, too

Whoever is woken and needs the room no more passes it on. A control plane that has just started
knows of nobody who waits: all try, and some are refused again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from terway.kube.resource import ObjectKey
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.podeni.record import Target


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: of addresses of a vSwitch, of ENIs in a group, of an instance's slots."""

    kind: str
    of: str


def addresses_of(vswitch_id: VSwitchId | str) -> Limit:
    """Return the limit of a vSwitch's addresses."""
    return Limit("vswitch", vswitch_id)


def places_in(group_id: SecurityGroupId | str) -> Limit:
    """Return the limit of ENIs in a security group."""
    return Limit("group", group_id)


def slots_at(target: Target) -> Limit:
    """Return the limit of what ENIs are attached to: whole ones, or members of the trunk."""
    return Limit("members" if target.trunk_eni_id else "slots", target.instance_id)


@dataclass(slots=True)
class _Waiting:
    limits: frozenset[Limit]
    since: str  # when its pod was made, as the API has times
    until: float
    granted: Limit | None = None  # what became free for it


class Waiting:
    """Those keys of one controller that wait. `clock` is monotonic seconds.

    `wake` has a key looked at; the controller sets it when it runs.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.wake: Callable[[ObjectKey], None] = lambda key: None
        self._clock = clock
        self._waiting: dict[ObjectKey, _Waiting] = {}
        self._by_limit: dict[Limit, set[ObjectKey]] = {}

    def hold(self, key: ObjectKey, limits: Iterable[Limit], *, since: str, for_s: float) -> float:
        """Note that `key` waits for one of `limits`; return for how many seconds at most."""
        self._remove(key)
        self._waiting[key] = _Waiting(frozenset(limits), since, self._clock() + for_s)
        for limit in self._waiting[key].limits:
            self._by_limit.setdefault(limit, set()).add(key)
        return for_s

    def left_s(self, key: ObjectKey) -> float:
        """Return how many seconds `key` has to wait yet; 0 when it may try."""
        one = self._waiting.get(key)
        if one is None or one.granted is not None:
            return 0.0
        return max(0.0, one.until - self._clock())

    def freed(self, limit: Limit, count: int = 1) -> None:
        """Wake those for whom there may be room, now that there is for `count` more."""
        held = self._by_limit.get(limit, ())
        asleep = (key for key in held if self._waiting[key].granted is None)
        for key in heapq.nlargest(count, asleep, key=lambda key: (self._waiting[key].since, key)):
            self._waiting[key].granted = limit
            self.wake(key)

    def served(self, key: ObjectKey) -> None:
        """Note that `key` has what it waited for."""
        self._remove(key)

    def left(self, key: ObjectKey) -> None:
        """Note that `key` needs nothing any more; what was free for it is another's."""
        one = self._remove(key)
        if one is not None and one.granted is not None:
            self.freed(one.granted)

    def vswitches(self) -> Sequence[VSwitchId]:
        """Return the vSwitches whose addresses somebody waits for."""
        found = self._by_limit
        return sorted(VSwitchId(limit.of) for limit in found if limit.kind == "vswitch")

    def _remove(self, key: ObjectKey) -> _Waiting | None:
        one = self._waiting.pop(key, None)
        for limit in () if one is None else one.limits:
            self._by_limit[limit].discard(key)
            if not self._by_limit[limit]:
                del self._by_limit[limit]
        return one
