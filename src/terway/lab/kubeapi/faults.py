"""What goes wrong, to which requests, how often? Data: the same plan gives the same failures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from terway.lab.kubeapi.requests import ApiRequest


class Effect(Enum):
    """What a fault does to a request."""

    REFUSE = "refuse"  # answer `code` without doing anything
    LOSE_REPLY = "lose-reply"  # do it, then cut the connection
    DELAY = "delay"  # wait `delay_s` first
    EXPIRE = "expire"  # a watch or list page: 410 as the HTTP status
    EXPIRE_EVENT = "expire-event"  # a watch: 410 as an ERROR event
    CUT_WATCH = "cut-watch"  # a watch: end it after `events` events, without a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, for the next `times` requests that match after `skip` that are let through.

    Empty `verbs` or `resources` (plural names) match all.
    """

    effect: Effect
    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    times: int = 1
    skip: int = 0
    code: int = 503
    delay_s: float = 0.0
    events: int = 0

    def matches(self, request: ApiRequest) -> bool:
        """Say whether the fault is meant for this request."""
        by_verb = not self.verbs or request.verb in self.verbs
        return by_verb and (not self.resources or request.resource.plural in self.resources)


class FaultPlan:
    """The faults still to come. `take` uses them up, in order."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self.pending = faults

    def add(self, *faults: Fault) -> None:
        """Plan more faults, after those there are."""
        self.pending += faults

    def take(self, request: ApiRequest) -> tuple[Fault, ...]:
        """Return the faults that hit this request, and count them down."""
        hits: list[Fault] = []
        left: list[Fault] = []
        for fault in self.pending:
            if not fault.matches(request):
                left.append(fault)
            elif fault.skip:
                left.append(replace(fault, skip=fault.skip - 1))
            else:
                hits.append(fault)
                if fault.times > 1:
                    left.append(replace(fault, times=fault.times - 1))
        self.pending = tuple(left)
        return tuple(hits)
