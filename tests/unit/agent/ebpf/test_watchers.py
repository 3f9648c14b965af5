"""Who watches the data path, and what are they told?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.agent.ebpf.watch_page import wish_of
from terway.agent.ebpf.watchers import Watcher, Watchers, Wish
from terway.datapath.happening import Happened, LeftOut, Place, Wanted, What, line_of, read_line
from terway.model.errors import UsageError

TIME = "2026-11-23T07:00:00.000001Z"
WEB = Place(address=ip_address("10.0.0.1"), port=40000, name="shop/web")
DB = Place(address=ip_address("10.0.0.2"), port=5432)
LOSS = Happened(
    time=TIME,
    node="n1",
    what=What.LOSS,
    pod="shop/web",
    interface="eth0",
    reason="policy-egress",
    meaning="the sender's policies do not allow it",
    protocol="TCP",
    source=WEB,
    destination=DB,
    bytes=60,
)
OPEN = Happened(time=TIME, node="n1", what=What.OPEN, source=DB, destination=WEB, protocol="TCP")
EVERYTHING = Wish(wanted=Wanted())


async def heard(watcher: Watcher, count: int) -> list[object]:
    lines = watcher.lines()
    return [await anext(lines) for _ in range(count)]


@pytest.mark.parametrize("line", [LOSS, OPEN, LeftOut(time=TIME, node="n1", count=3, text="many")])
def test_a_line_reads_back_as_it_was_written(line):
    assert read_line(line_of(line)) == line


def test_a_line_that_is_no_record_names_where_it_is_from():
    with pytest.raises(UsageError, match="line 3 is no record of terway-cli monitor"):
        read_line('{"what": "music"}', where="line 3")


async def test_a_watcher_hears_what_it_wants():
    watcher = Watcher(Wish(wanted=Wanted(flows=False)))

    for line in (OPEN, LOSS):
        watcher.tell(line)

    assert await heard(watcher, 1) == [LOSS]


async def test_a_watcher_of_a_pod_hears_what_happens_at_either_end_of_it():
    watcher = Watcher(Wish(wanted=Wanted(pod="shop/web")))
    other = Happened(time=TIME, node="n1", what=What.LOSS, pod="shop/other", source=DB)

    for line in (other, OPEN, LOSS):
        watcher.tell(line)

    assert await heard(watcher, 2) == [OPEN, LOSS]


async def test_a_watcher_that_is_slow_hears_how_much_it_missed():
    watcher = Watcher(EVERYTHING, most=2)

    for _ in range(5):
        watcher.tell(LOSS)

    assert (await heard(watcher, 3))[-1] == LeftOut(time=TIME, node="n1", count=3)


def test_one_wish_meets_all():
    watchers = Watchers()
    with (
        watchers.join(Wish(wanted=Wanted(flows=False, pod="a/a"), one_in=10, per_second=5)),
        watchers.join(Wish(wanted=Wanted(losses=False, pod="a/a"), one_in=4, per_second=50)),
    ):
        assert watchers.wish() == Wish(wanted=Wanted(pod="a/a"), one_in=4, per_second=50)
        with watchers.join(EVERYTHING):
            assert watchers.wish() == Wish(wanted=Wanted(), one_in=1, per_second=2000)
    assert watchers.wish() is None


def test_without_words_everything_is_wished():
    assert wish_of({}, ()) == EVERYTHING


def test_a_pod_may_be_named_without_its_namespace_where_that_is_enough():
    assert wish_of({"pod": "web"}, {"shop/web", "shop/db"}).wanted.pod == "shop/web"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"pod": "web"}, "is any of a/web, b/web"),
        ({"pod": "gone"}, "is not on this node"),
        ({"sample": "0"}, "sample '0': must be a number from 1"),
        ({"most": "many"}, "most 'many': must be a number from 1 to 100000"),
    ],
)
def test_what_cannot_be_wished_is_refused_with_the_word(words, refusal):
    with pytest.raises(UsageError, match=refusal):
        wish_of(words, {"a/web", "b/web"})
