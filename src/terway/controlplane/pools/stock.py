"""What have the vSwitches left, for all nodes' pools together?

    reading of the cloud ──read──► available ◄──given, got back── answers
    each node's pool ──show──► available, less what the others have asked for and not got
    its step ──settle──► what it has asked for now, what it was given, who is empty

A node's pool counts along by itself (`ipam.stock`); alone it would not see that a hundred others
have chosen the same almost empty vSwitch. So before each step it is shown what is left for it, and
after the step all others see what it chose. Nobody waits in between, so nobody overtakes.

In doubt less is believed to be there: what is asked for while the cloud is read may be counted
twice until the next reading.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from terway.ipam.events import Event, VSwitchesObserved
from terway.ipam.pool import Pool
from terway.ipam.stock import reserved
from terway.ipam.values import Hold, VSwitchState
from terway.model.eni import VSwitch
from terway.model.ids import VSwitchId

_KEPT = 256  # answers that a reading may have missed: more than come while it is under way


@dataclass(slots=True, kw_only=True)
class _Shelf:
    """One vSwitch. Times are monotonic seconds."""

    vswitch: VSwitch  # as read
    available: int  # as read, less what was given since
    read_at: float
    reserved: int = 0  # by all pools
    hold: Hold | None = None
    prefix_hold: Hold | None = None
    given: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Stock:
    """The one view of the vSwitches. A pool is known by a key of its node."""

    def __init__(self) -> None:
        self._shelves: dict[VSwitchId, _Shelf] = {}
        self._reserved: dict[str, Mapping[VSwitchId, int]] = {}

    def read(self, vswitch: VSwitch, *, asked_at: float) -> None:
        """Take over what the cloud says of a vSwitch."""
        before = self._shelves.get(vswitch.id)
        available = vswitch.available_ip_count
        if before is None:
            asked = sum(each.get(vswitch.id, 0) for each in self._reserved.values())
            self._shelves[vswitch.id] = _Shelf(
                vswitch=vswitch, available=available, read_at=asked_at, reserved=asked
            )
            return
        missed = sum(count for at, count in before.given if at >= asked_at)
        before.available, before.read_at = available - missed, asked_at
        before.vswitch = vswitch

    def show(self, key: str, pool: Pool, event: Event) -> tuple[Pool, Event]:
        """Return the pool, which is about to hear of `event`, with what is left for it.

        And the event: a reading is of a moment ago, and others may have drawn on it since.
        """
        states = pool.vswitches
        if isinstance(event, VSwitchesObserved):
            new = (one for one in event.vswitches if one.id not in states)
            states = {**states, **{one.id: _unread(one) for one in new}}
            event = VSwitchesObserved(vswitches=tuple(self._now(key, v) for v in event.vswitches))
        for vswitch_id, state in states.items():
            shelf = self._shelves.get(vswitch_id)
            seen = state if shelf is None else self._seen(key, state, shelf)
            if shelf is not None and seen != pool.vswitches.get(vswitch_id):
                pool = pool.with_vswitch(seen)
        return pool, event

    def _now(self, key: str, vswitch: VSwitch) -> VSwitch:
        shelf = self._shelves.get(vswitch.id)
        if shelf is None:
            return vswitch
        return replace(vswitch, available_ip_count=self._left(key, vswitch.id, shelf))

    def _seen(self, key: str, state: VSwitchState, shelf: _Shelf) -> VSwitchState:
        return replace(
            state,
            vswitch=shelf.vswitch,  # of a pool that a resource brought back, little is known
            available=self._left(key, state.vswitch.id, shelf),
            read_at=shelf.read_at,
            hold=_later(state.hold, shelf.hold),
            prefix_hold=_later(state.prefix_hold, shelf.prefix_hold),
        )

    def settle(self, key: str, before: Pool, event: Event, after: Pool, *, now: float) -> None:
        """Take over what a step made of the pool that was shown `before`."""
        for vswitch_id, state in after.vswitches.items():
            shelf, old = self._shelves.get(vswitch_id), before.vswitches.get(vswitch_id)
            if shelf is not None and old is not None and old is not state:
                is_reading = isinstance(event, VSwitchesObserved)
                _learn(shelf, old, state, now=now, gave=not is_reading)
        self._reserve(key, Counter() if not after.intents else reserved(after))

    def forget(self, key: str) -> None:
        """Let go of what a node that is gone asked for."""
        self._reserve(key, Counter())

    def _left(self, key: str, vswitch_id: VSwitchId, shelf: _Shelf) -> int:
        own = self._reserved.get(key, {}).get(vswitch_id, 0)
        return shelf.available - (shelf.reserved - own)

    def _reserve(self, key: str, wanted: Mapping[VSwitchId, int]) -> None:
        before = self._reserved.get(key, {})
        if wanted == before:
            return
        for vswitch_id in {*before, *wanted}:
            shelf = self._shelves.get(vswitch_id)
            if shelf is not None:
                shelf.reserved += wanted.get(vswitch_id, 0) - before.get(vswitch_id, 0)
        if wanted:
            self._reserved[key] = wanted
        else:
            del self._reserved[key]


def _unread(vswitch: VSwitch) -> VSwitchState:
    return VSwitchState(vswitch=vswitch, available=0, read_at=float("-inf"))


def _learn(shelf: _Shelf, old: VSwitchState, new: VSwitchState, *, now: float, gave: bool) -> None:
    """Take over what a vSwitch gave, or got back, and that it said it is empty."""
    count = old.available - new.available if gave else 0
    if count:
        shelf.available -= count
        shelf.given.append((now, count))
    shelf.hold = _later(shelf.hold, new.hold)
    shelf.prefix_hold = _later(shelf.prefix_hold, new.prefix_hold)


def _later(one: Hold | None, other: Hold | None) -> Hold | None:
    if one is None or other is None:
        return one or other
    return one if one.until >= other.until else other
