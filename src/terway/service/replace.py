"""Which operations make of one service's entries others?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack_from

from terway.service.changes import Batch
from terway.service.contents import Table, pack_backend, pack_number, unpack_set
from terway.service.placed import Placed, PlacedLine

_YES = pack_number(1)
_SLOT_BYTES = 4


def replace_entries(
    batch: Batch, old: Placed, new: Placed, is_free: Callable[[bytes], bool]
) -> list[tuple[int, int]]:
    """Add to `batch` what leads from `old` to `new`; return the ranges of slots that fall free.

    `is_free` says whether nobody wants a frontend any more. Then alone it is deleted.
    """
    freed: list[tuple[int, int]] = []
    before = {line.number: line for line in old.lines}
    for line in new.lines:
        freed += _replace_line(batch, before.pop(line.number, _none(line)), line, is_free)
    for line in before.values():
        freed += _replace_line(batch, line, _none(line), is_free)
    return freed


def _none(line: PlacedLine) -> PlacedLine:
    return PlacedLine(key=line.key, number=line.number)


def _replace_line(
    batch: Batch, old: PlacedLine, new: PlacedLine, is_free: Callable[[bytes], bool]
) -> list[tuple[int, int]]:
    if old == new:
        return []
    _replace_backends(batch, old, new)
    _replace_frontends(batch, old, new, is_free)
    for key in new.ranges:
        if key not in old.ranges:
            batch.make(Table.SOURCE_RANGES, key, _YES)
    for key in old.ranges:
        if key not in new.ranges:
            batch.remove(Table.SOURCE_RANGES, key)
    return _replace_sets(batch, old, new)


def _replace_backends(batch: Batch, old: PlacedLine, new: PlacedLine) -> None:
    if old.backends == new.backends:
        return
    before, after = old.members(), new.members()
    for identity, (number, flags) in after.items():
        value = pack_backend(identity, flags, new.number)
        if identity not in before:
            batch.make(Table.BACKENDS, pack_number(number), value)
        elif before[identity] != (number, flags):
            batch.flags[pack_number(number)] = value
    for identity, (number, _) in before.items():
        if identity not in after:
            batch.remove(Table.BACKENDS, pack_number(number))


def _replace_frontends(
    batch: Batch, old: PlacedLine, new: PlacedLine, is_free: Callable[[bytes], bool]
) -> None:
    before, after = dict(old.frontends()), dict(new.frontends())
    for key, value in after.items():
        if before.get(key) != value:
            batch.frontends[key] = value
            batch.gone.get(Table.FRONTENDS, {}).pop(key, None)
    for key in before:
        if key not in after and is_free(key):
            batch.remove(Table.FRONTENDS, key)


def _replace_sets(batch: Batch, old: PlacedLine, new: PlacedLine) -> list[tuple[int, int]]:
    freed: list[tuple[int, int]] = []
    before = {number: (value, slots) for number, value, slots in old.sets()}
    for number, value, slots in new.sets():
        old_value, old_slots = before.pop(number, (b"", b""))
        place, was = _range_of(value, slots), _range_of(old_value, old_slots)
        for at, slot in _changed_slots(slots, old_slots if place == was else b""):
            batch.make(Table.SLOTS, pack_number(place[0] + at), slot)
        if was != place and was[1]:
            freed.append(was)
        if value != old_value:
            batch.sets[pack_number(number)] = value
    for number, (value, slots) in before.items():
        batch.remove(Table.SETS, pack_number(number))
        if slots:
            freed.append(_range_of(value, slots))
    return freed


def _range_of(value: bytes, slots: bytes) -> tuple[int, int]:
    if not slots:
        return 0, 0
    _, start, size, _ = unpack_set(value)
    return start, size


def _changed_slots(new: bytes, old: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield place and content of the slots that differ."""
    if new == old:
        return
    count = len(new) // _SLOT_BYTES
    after = unpack_from(f"={count}I", new)
    before = unpack_from(f"={count}I", old) if old else (0,) * count
    for place, (slot, was) in enumerate(zip(after, before, strict=True)):
        if slot != was:
            yield place, pack_number(slot)
