"""What somebody keeps changing is mended at once at first, then now and then, then forgotten."""

from __future__ import annotations

from terway.datapath.fights import PATIENCE, PAUSE_S, REST_S, Fights


def mended(times):
    fights = Fights()
    for now in times:
        fights = fights.after(["route"], now=now)
    return fights


def test_the_first_times_nothing_waits():
    for count in range(PATIENCE):
        fights = mended(range(count))

        assert fights.wait_s("route", now=count) == 0
        assert not fights.is_fought_over("route", now=count)


def test_what_was_mended_too_often_waits_half_a_minute_each_time():
    fights = mended(range(PATIENCE))
    last = PATIENCE - 1

    assert fights.is_fought_over("route", now=last)
    assert fights.wait_s("route", now=last) == PAUSE_S
    assert fights.wait_s("route", now=last + PAUSE_S) == 0
    again = fights.after(["route"], now=last + PAUSE_S)
    assert again.wait_s("route", now=last + PAUSE_S + 1) == PAUSE_S - 1


def test_other_places_do_not_wait():
    assert mended(range(PATIENCE)).wait_s("rule", now=PATIENCE) == 0


def test_what_was_left_alone_for_a_while_begins_anew_and_is_not_remembered():
    fights = mended(range(PATIENCE))
    later = PATIENCE + REST_S

    assert not fights.is_fought_over("route", now=later)
    assert not fights.after([], now=later).mended
