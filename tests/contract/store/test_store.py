"""Every journal keeps these promises: the one on disk, and the one that tests use instead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from terway.store.memory import Disk, MemoryStore
from terway.store.records import Batch, Journal, StoreError
from terway.store.sqlite import open_store
from tests.support.records import (
    ASSIGN,
    CREATE,
    MARK,
    VSWITCH,
    attachment,
    eni,
    prefix,
    slot,
)


class Reopened:
    """A journal that can be left and opened again, as after a crash."""

    def __init__(self, kind: str, tmp_path) -> None:
        self._path = tmp_path / "terway.db"
        self._disk = Disk() if kind == "memory" else None

    @contextmanager
    def open(self) -> Iterator[object]:
        if self._disk is not None:
            yield MemoryStore(self._disk)
        else:
            with open_store(self._path) as store:
                yield store


@pytest.fixture(params=["memory", "sqlite"])
def journal(request, tmp_path):
    return Reopened(request.param, tmp_path)


async def test_a_new_journal_is_empty(journal):
    with journal.open() as store:
        assert await store.load() == Journal()


async def test_what_was_written_is_there_after_a_restart(journal):
    batch = Batch(
        put=(
            attachment(1),
            attachment(2, pod=False),
            *(slot(1), prefix(), prefix("fd00:0:0:0:1::/80"), eni(), VSWITCH),
            *(CREATE, ASSIGN, MARK),
        )
    )
    with journal.open() as store:
        await store.write(batch)

    with journal.open() as store:
        found = await store.load()

    assert found == Journal(
        attachments=(attachment(1), attachment(2, pod=False)),
        slots=(slot(1),),
        enis=(eni(),),
        intents=(CREATE, ASSIGN),
        vswitches=(VSWITCH,),
        prefixes=(prefix(), prefix("fd00:0:0:0:1::/80")),
        marks=(MARK,),
    )


async def test_a_record_replaces_the_one_with_its_key(journal):
    with journal.open() as store:
        await store.write(Batch(put=(attachment(1), slot(1), eni("attaching"))))
        await store.write(Batch(put=(slot(1, rests_until=99.5), eni("in use"))))

        found = await store.load()

    assert found.slots == (slot(1, rests_until=99.5),)
    assert found.enis == (eni("in use"),)


async def test_a_replaced_record_keeps_its_place(journal):
    with journal.open() as store:
        await store.write(Batch(put=(slot(2), slot(1))))
        await store.write(Batch(put=(slot(2, rests_until=5.0),)))

        found = await store.load()

    assert [record.address for record in found.slots] == [slot(2).address, slot(1).address]


async def test_what_was_deleted_is_gone_and_deleting_nothing_is_success(journal):
    with journal.open() as store:
        await store.write(Batch(put=(attachment(1), slot(1), prefix(), eni(), CREATE, ASSIGN)))
        gone = Batch(
            delete_attachments=(attachment(1).key, attachment(9).key),
            delete_slots=(slot(1).address,),
            delete_prefixes=(prefix().network,),
            delete_enis=(eni().id,),
            delete_intents=(CREATE.token, ASSIGN.token),
        )
        await store.write(gone)

        assert await store.load() == Journal()


async def test_an_address_can_pass_to_another_attachment_in_one_batch(journal):
    with journal.open() as store:
        await store.write(Batch(put=(attachment(1),)))
        heir = attachment(2, address=1)
        await store.write(Batch(put=(heir,), delete_attachments=(attachment(1).key,)))

        assert (await store.load()).attachments == (heir,)


async def test_two_attachments_never_hold_one_address_and_the_batch_is_left_out_whole(journal):
    """Bug class 7: one address, two owners."""
    with journal.open() as store:
        await store.write(Batch(put=(attachment(1),)))

        with pytest.raises(StoreError):
            await store.write(Batch(put=(slot(7), attachment(2, address=1))))

        assert await store.load() == Journal(attachments=(attachment(1),))


async def test_a_refused_batch_does_not_stop_its_neighbours(journal):
    with journal.open() as store:
        batches = [Batch(put=(attachment(number, address=number // 2),)) for number in range(4)]
        writes = [store.write(batch) for batch in batches]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)

        assert [isinstance(one, StoreError) for one in outcomes] == [False, True, False, True]
        assert len((await store.load()).attachments) == 2


async def test_writes_take_effect_in_the_order_in_which_they_were_asked_for(journal):
    with journal.open() as store:
        writes = [store.write(Batch(put=(slot(1, rests_until=float(n)),))) for n in range(50)]
        await asyncio.gather(*writes)

        assert (await store.load()).slots == (slot(1, rests_until=49.0),)


async def test_giving_up_the_wait_does_not_take_the_write_back(journal):
    with journal.open() as store:
        waiting = asyncio.ensure_future(store.write(Batch(put=(slot(1),))))
        waiting.cancel()
        await store.write(Batch(put=(slot(2),)))

        assert len((await store.load()).slots) == 2
