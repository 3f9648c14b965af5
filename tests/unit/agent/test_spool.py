"""Notes: oldest first, until they are done; drafts of killed plugins do not stay."""

from __future__ import annotations

import os

import pytest

from terway.agent.spool import Spool
from terway.model.errors import TransientError
from terway.model.moment import Moment


def at(seconds: float, boot_id: str = "11-22") -> Moment:
    return Moment(boot_id=boot_id, seconds=seconds)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path)


def test_notes_come_back_oldest_first_until_they_are_done(spool):
    spool.leave(b"second", now=at(2.5))
    spool.leave(b"first", now=at(1.5))

    first, second = spool.read(now=at(3.0))
    assert (first.body, first.asked_at) == (b"first", at(1.5))
    spool.done(first)

    assert spool.read(now=at(3.0)) == (second,)


def test_an_empty_folder_is_empty_and_one_with_a_note_is_not(spool):
    assert spool.is_empty()
    spool.leave(b"note", now=at(1.0))
    assert not spool.is_empty()


def test_a_note_of_an_earlier_start_of_the_machine_is_older(spool):
    spool.leave(b"second", now=at(1.0))
    spool.leave(b"first", now=at(5000.0, boot_id="99"))

    assert [note.body for note in spool.read(now=at(2.0))] == [b"first", b"second"]


def test_a_draft_of_an_earlier_start_of_the_machine_goes_at_once(spool, tmp_path):
    (tmp_path / ".0000001000.000000000-99-7").write_bytes(b"half of a no")

    spool.read(now=at(1001.0))

    assert spool.is_empty()


def test_a_note_that_is_done_twice_is_done(spool):
    spool.leave(b"note", now=at(1.0))
    (note,) = spool.read(now=at(2.0))

    spool.done(note)
    spool.done(note)

    assert spool.is_empty()


def test_a_draft_is_no_note_and_goes_when_its_plugin_must_be_dead(spool, tmp_path):
    draft = tmp_path / ".0000001000.000000000-11-22-7"
    draft.write_bytes(b"half of a no")

    assert spool.read(now=at(1010.0)) == ()
    assert draft.exists()
    assert spool.read(now=at(2000.0)) == ()
    assert not draft.exists()


def test_what_somebody_else_put_there_is_older_than_everything(spool, tmp_path):
    (tmp_path / "README").write_bytes(b"hello")

    (note,) = spool.read(now=at(1.0))

    assert note.asked_at == at(0.0, boot_id="")


def test_what_is_no_regular_file_is_left_alone_and_harms_no_note(spool, tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "0000000000.fifo")
    spool.leave(b"note", now=at(1.0))

    assert [note.body for note in spool.read(now=at(1e9))] == [b"note"]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_that_is_gone_is_told_as_transient(spool, tmp_path):
    tmp_path.rmdir()

    for use in (
        spool.is_empty,
        lambda: spool.read(now=at(1.0)),
        lambda: spool.leave(b"", now=at(1.0)),
    ):
        with pytest.raises(TransientError, match=str(tmp_path)):
            use()
