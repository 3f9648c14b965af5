"""What maps have depends on what services are, not on how they came to be so."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from terway.service.compiler import Compiler
from terway.service.contents import Table
from terway.service.memory import remember
from terway.service.room import Room
from tests.support.paper_maps import PaperMaps
from tests.support.service_worlds import HERE, ROOM, changes, end_of

histories = st.lists(changes, max_size=14)


def compiled(history) -> PaperMaps:
    maps = PaperMaps()
    maps.apply(Compiler(HERE, room=ROOM).apply(history))
    return maps


@settings(max_examples=200, deadline=None)
@given(histories)
def test_any_history_equals_a_fresh_compile_of_its_end(history):
    maps, compiler = PaperMaps(), Compiler(HERE, room=ROOM)
    for change in history:
        maps.apply(compiler.apply([change]))

    fresh = compiled(end_of(history))
    assert maps.meaning() == fresh.meaning()
    assert without_slots(maps.sizes()) == without_slots(fresh.sizes())


@settings(max_examples=100, deadline=None)
@given(histories)
def test_the_same_again_is_nothing_to_do(history):
    compiler = Compiler(HERE, room=ROOM)
    compiler.apply(history)

    assert compiler.apply(end_of(history)) == ()


@settings(max_examples=100, deadline=None)
@given(histories, histories)
def test_a_new_terwayd_changes_only_what_is_wrong(history, meanwhile):
    """Bug class 40: a restart clears nothing that is right."""
    maps, before = PaperMaps(), Compiler(HERE, room=ROOM)
    maps.apply(before.apply(history))
    numbers = dict(maps.tables[Table.BACKENDS])

    after = Compiler(HERE, room=ROOM, memory=remember(maps.tables))
    maps.apply(after.apply([*history, *meanwhile]))
    maps.apply(after.forget())

    fresh = compiled(end_of([*history, *meanwhile]))
    assert maps.meaning() == fresh.meaning()
    assert without_slots(maps.sizes()) == without_slots(fresh.sizes())
    kept = numbers.keys() & maps.tables[Table.BACKENDS].keys()
    assert all(numbers[key][:20] == maps.tables[Table.BACKENDS][key][:20] for key in kept)


@settings(max_examples=100, deadline=None)
@given(histories)
def test_a_new_terwayd_that_finds_all_as_it_should_be_does_nothing(history):
    """Bug class 40."""
    maps = PaperMaps()
    maps.apply(Compiler(HERE, room=ROOM).apply(history))

    after = Compiler(HERE, room=ROOM, memory=remember(maps.tables))

    assert (*after.apply(history), *after.forget()) == ()


@settings(max_examples=100, deadline=None)
@given(histories)
def test_a_number_of_a_backend_never_means_another(history):
    """Bug class 39: a choice that is remembered must not lead to whoever came later."""
    maps, compiler = PaperMaps(), Compiler(HERE, room=ROOM)
    meant: dict[bytes, bytes] = {}
    for place, change in enumerate(history):
        if place == len(history) // 2:
            compiler = Compiler(HERE, room=ROOM, memory=remember(maps.tables))
        maps.apply(compiler.apply([change]))
        for key, value in maps.tables[Table.BACKENDS].items():
            assert meant.setdefault(key, value[:20]) == value[:20]


@settings(max_examples=100, deadline=None)
@given(histories, st.integers(0, 12))
def test_a_full_map_never_gets_more_and_says_whom_it_leaves_out(history, backends):
    room = Room(frontends=8, sets=8, backends=backends, slots=1100, source_ranges=3)
    maps, compiler = PaperMaps(), Compiler(HERE, room=room)
    for change in history:
        maps.apply(compiler.apply([change]))
        sizes = maps.sizes()
        assert all(sizes[t] <= room.of(t) for t in Table if t is not Table.SLOTS)

    if not compiler.unserved:
        assert maps.meaning() == compiled(end_of(history)).meaning()


def without_slots(sizes: dict[Table, int]) -> dict[Table, int]:
    # Slots are an array: what is not used stays as it was.
    return {table: size for table, size in sizes.items() if table is not Table.SLOTS}
