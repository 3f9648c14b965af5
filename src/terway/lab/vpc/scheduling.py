"""In which order do the backends of a listener get new connections? Slots, as weights say. Pure.

By turns: smooth weighted round robin, as nginx and LVS interleave it. By hash: each slot goes to
the backend that wins it (weighted rendezvous: -weight / ln(hash)), so that one that comes or goes
moves only the slots it gets or leaves.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import gcd, log

from terway.lab.vpc.contract import LISTENER_SLOTS
from terway.lab.vpc.state import Listener, Scheduler, Server

_HASHED_SLOTS = 251  # prime: a hash with a pattern meets all slots


def is_open(server: Server) -> bool:
    """Return whether a backend takes new connections."""
    return server.is_healthy and server.weight > 0


def slots_of(listener: Listener) -> tuple[int, ...]:
    """Return which backend each slot is, by its place in `all_servers`; none if nobody is open."""
    return _slots(listener.all_servers, listener.scheduler)


@lru_cache(maxsize=1024)
def _slots(servers: tuple[Server, ...], scheduler: Scheduler) -> tuple[int, ...]:
    open_ones = {place: one for place, one in enumerate(servers) if is_open(one)}
    if not open_ones:
        return ()
    match scheduler:
        case Scheduler.HASH:
            return tuple(open_ones)
        case Scheduler.TURNS:
            return _interleaved(_reduced({place: one.weight for place, one in open_ones.items()}))
        case Scheduler.TUPLE | Scheduler.SOURCE:
            return tuple(_winner(slot, open_ones) for slot in range(_HASHED_SLOTS))


def _reduced(weights: dict[int, int]) -> dict[int, int]:
    """Return weights in the same proportion that add up to the number of slots at most."""
    common = gcd(*weights.values())
    small = {place: weight // common for place, weight in weights.items()}
    total = sum(small.values())
    if total <= LISTENER_SLOTS:
        return small
    room = LISTENER_SLOTS - len(small)  # each has one slot at least
    return {place: 1 + weight * room // total for place, weight in small.items()}


def _interleaved(weights: dict[int, int]) -> tuple[int, ...]:
    total = sum(weights.values())
    credit = dict.fromkeys(weights, 0)
    order: list[int] = []
    for _ in range(total):
        for place, weight in weights.items():
            credit[place] += weight
        chosen = max(credit, key=lambda place: credit[place])
        credit[chosen] -= total
        order.append(chosen)
    return tuple(order)


def _winner(slot: int, servers: dict[int, Server]) -> int:
    return max(servers, key=lambda place: _score(slot, servers[place]))


def _score(slot: int, server: Server) -> float:
    text = f"{slot} {server.address} {server.port}".encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
    return -server.weight / log((number + 1) / (2**64 + 1))
