"""Which backend has which slot of a large set, so that few move when one comes or goes?

Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section
3.4. A backend's order of slots is made of its name alone, so the table has no history.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

# Primes, so that every skip visits all slots. Thirty-two slots for each backend keep the
# difference between the fullest and the emptiest within some percent.
SIZES = (1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)
SLOTS_EACH = 32
_FREE = -1


def table_size(backends: int) -> int:
    """Return how many slots the table of so many backends has."""
    return next((size for size in SIZES if size >= backends * SLOTS_EACH), SIZES[-1])


def fill_table(names: Sequence[bytes], size: int) -> list[int]:
    """Return for each of `size` slots which of `names` has it."""
    orders = [_order(name, size) for name in names]
    table = [_FREE] * size
    turns = sorted(range(len(names)), key=lambda place: names[place])
    left = size
    while left:
        for place in turns[:left]:
            position, skip = orders[place]
            while table[position] != _FREE:
                position = (position + skip) % size
            table[position] = place
            orders[place] = ((position + skip) % size, skip)
        left -= min(left, len(turns))
    return table


def _order(name: bytes, size: int) -> tuple[int, int]:
    digest = blake2b(name, digest_size=8).digest()
    offset, skip = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
    return offset % size, skip % (size - 1) + 1
