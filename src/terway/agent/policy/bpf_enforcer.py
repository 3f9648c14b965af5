"""Policies in eBPF: the maps that the data path's programs ask, at every hook of every pod.

There is one place, the node: its maps judge all pods' packets, wherever a program sees them. A
change that fails (a map is full) is not in force in any part; the engine then has all of it adopted
from what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from terway.agent.policy.enforcer import MAPS, Place, SeatMap
from terway.linux.grace import wait_for_packets
from terway.model.endpoint import endpoint_number
from terway.model.policy_maps import Content, Generation, Keys, Steps
from terway.policy.bpf.lift import lift
from terway.policy.bpf.verify import verify
from terway.policy.bpf.writer import Endpoints, Writer
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled

_log = structlog.get_logger("policy")


class Maps(Protocol):
    """`linux.ebpf.policy_maps.PolicyMaps`, or those on paper."""

    def read(self) -> Content:
        """Return all that is there."""

    def put(self, content: Content) -> None:
        """Put entries; nothing of it counts before `switch`."""

    def switch(self, generation: Generation) -> None:
        """Have all that was put count, from one packet to the next."""

    def remove(self, keys: Keys) -> None:
        """Remove entries; those that are not there are no matter."""

    def mark(self) -> object:
        """Return what is another after somebody changed what packets meet first."""


def endpoints_of(seats: SeatMap) -> Endpoints:
    """Return the numbers of each pod's interfaces, as the data path knows them."""
    return {
        pod: tuple(endpoint_number(seat.attachment) for seat in of_pod)
        for pod, of_pod in seats.items()
    }


class BpfEnforcer:
    """The policy maps of this node. What is raised is about all of it: nothing changed then."""

    def __init__(self, maps: Maps, *, let_out: Callable[[], None] = wait_for_packets) -> None:
        self._maps = maps
        self._let_out = let_out
        self._writer = Writer()
        self._endpoints: Endpoints = {}
        self._left: object = None  # the maps' mark after our last deed
        self._is_disturbed = False

    @property
    def refused(self) -> Mapping[PodKey, str]:
        """Return no pods: what is judged is judged at the node."""
        return {}

    @property
    def notices(self) -> Mapping[PodKey, str]:
        """Return no pods: none can hold what is the node's."""
        return {}

    def adopt(self, compiled: Compiled, seats: SeatMap) -> None:
        """Have `compiled` in force and nothing else, whatever was there, in one switch."""
        self._endpoints = endpoints_of(seats)
        self._carry_out(self._writer.adopt(compiled, self._endpoints, self._maps.read()))
        self._left, self._is_disturbed = self._maps.mark(), False

    def renew(self, compiled: Compiled, seats: SeatMap, places: Collection[Place]) -> None:
        """Have `compiled` in force, whatever was there."""
        if MAPS in places:
            self.adopt(compiled, seats)

    def apply(self, change: Change, seats: SeatMap) -> None:
        """Take what is different into force, for the pods as they are seated now."""
        self._endpoints = endpoints_of(seats)
        self._note_disturbance()
        self._carry_out(self._writer.change(change, self._endpoints))
        self._left = self._maps.mark()

    def _carry_out(self, steps: Steps) -> None:
        if steps.is_again:
            self._let_out()
        self._maps.remove(steps.clear)
        self._maps.put(steps.make)
        if steps.switch is not None:
            self._maps.switch(steps.switch)

    def set_aside(self) -> bool:
        """Return whether changes have left something behind, which `clear_away` may remove."""
        return self._writer.set_aside()

    def let_out(self) -> None:
        """Return when no packet is in what was set aside. Takes no turn: changes may go on."""
        self._let_out()

    def clear_away(self) -> None:
        """Remove what was set aside before all packets were let out."""
        self._note_disturbance()
        self._maps.remove(self._writer.clear_away())
        self._left = self._maps.mark()

    def _note_disturbance(self) -> None:
        """Keep in mind what somebody else did since our last deed."""
        self._is_disturbed |= self._maps.mark() != self._left

    def disturbed(self) -> tuple[Place, ...]:
        """Return the maps if somebody else has changed what packets meet first in them."""
        self._note_disturbance()
        return (MAPS,) if self._is_disturbed else ()

    def read(self, places: Collection[Place] | None = None) -> ReadMaps:
        """Return what is in force, as it was read back."""
        self._left, self._is_disturbed = self._maps.mark(), False
        is_asked = places is None or MAPS in places
        content = self._maps.read() if is_asked else None
        return ReadMaps(content=content, endpoints=self._endpoints)

    def remove(self) -> bool:
        """Remove all that is in the maps: nothing restricts anybody; return whether there was."""
        found = self._maps.read()
        self._maps.remove(frozenset(found.sides))  # first: without verdicts they would shut
        self._maps.remove(found.keys())
        return bool(found.keys())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMaps:
    """The maps as they were at one moment; None where nobody asked for them."""

    content: Content | None
    endpoints: Endpoints

    def wrong(self, compiled: Compiled) -> Mapping[Place, tuple[str, ...]]:
        """Return in words where they say something else than `compiled`. Slow: for a worker."""
        if self.content is None:
            return {}
        found = verify(compiled, self.endpoints, lift(self.content))
        return {MAPS: found} if found else {}
