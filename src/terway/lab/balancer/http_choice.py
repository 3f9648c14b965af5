"""Which backend gets a request? The one that a cookie marks, or who is next by weight. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from terway.lab.balancer.http_changes import mark_of
from terway.lab.cloud.balancer_view import ForwardedServer
from terway.lab.vpc.scheduling import slots_of
from terway.lab.vpc.state import Listener, Scheduler, Server

_TCP = 6


class Turns:
    """Whose turn it is at one listener."""

    def __init__(self) -> None:
        self._turn = 0

    def order(
        self, servers: Iterable[ForwardedServer], *, mark: str, is_even: bool
    ) -> tuple[ForwardedServer, ...]:
        """Return who is to be tried for a request, the chosen one first; none if nobody is open.

        `servers` are healthy. Who has no weight gets nothing new, whatever a cookie says.
        """
        there = tuple(one for one in servers if one.weight)
        marked = next((one for one in there if mark_of(one.address, one.port) == mark), None)
        first = marked or self._next(there, is_even=is_even)
        return () if first is None else (first, *_others(there, first))

    def _next(
        self, servers: Collection[ForwardedServer], *, is_even: bool
    ) -> ForwardedServer | None:
        weighed = tuple(
            Server(address=one.address, port=one.port, weight=1 if is_even else one.weight)
            for one in servers
        )
        listener = Listener(protocol=_TCP, port=0, servers=weighed, scheduler=Scheduler.TURNS)
        slots = slots_of(listener)
        if not slots:
            return None
        self._turn += 1
        return tuple(servers)[slots[(self._turn - 1) % len(slots)]]


def _others(
    servers: Iterable[ForwardedServer], first: ForwardedServer
) -> Iterable[ForwardedServer]:
    return (one for one in servers if one != first)
