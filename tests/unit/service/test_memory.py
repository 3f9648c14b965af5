"""What a terwayd that starts makes of the maps that the last one left."""

from __future__ import annotations

from terway.service.contents import Table, pack_large_set, pack_number
from terway.service.memory import remember

TABLE, SIZE, LINE = 4, 3, 7


def with_slots(count: int) -> bytes:
    """Return the table that is remembered of a large set where `slots` has so many places."""
    held: dict[Table, dict[bytes, bytes]] = {one: {} for one in Table}
    held[Table.SETS][pack_number(2 * LINE)] = pack_large_set(17, TABLE, SIZE)
    held[Table.SLOTS] = {pack_number(one): pack_number(one + 100) for one in range(count)}
    (line,) = remember(held).rest()
    return line.cluster_slots


def test_a_large_set_is_remembered_with_its_table():
    assert with_slots(16) == b"".join(map(pack_number, (104, 105, 106)))


def test_a_table_that_reaches_past_a_map_that_is_smaller_now_is_made_anew():
    assert with_slots(TABLE + SIZE - 1) == b""
