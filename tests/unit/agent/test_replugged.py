"""An ENI that was plugged again has another number, whoever looked while it was away."""

from __future__ import annotations

from terway.agent.replugged import ENINumbers
from terway.datapath.facts import ENILink
from terway.model.address import IPPair
from terway.model.ids import MacAddress

MAC, OTHER = MacAddress("00:16:3e:00:00:01"), MacAddress("00:16:3e:00:00:02")


def link(mac: MacAddress, ifindex: int) -> ENILink:
    return ENILink(name=f"eth{ifindex}", ifindex=ifindex, mac=mac, gateways=IPPair())


def test_what_is_seen_first_has_not_changed():
    numbers = ENINumbers()
    assert numbers.changed((link(MAC, 3),), ()) == frozenset()
    assert numbers.changed((link(MAC, 3), link(OTHER, 4)), ()) == frozenset()


def test_one_that_was_plugged_again_between_two_sweeps_has():
    numbers = ENINumbers()
    numbers.changed((link(MAC, 3), link(OTHER, 4)), ())
    assert numbers.changed((link(MAC, 5), link(OTHER, 4)), ()) == {MAC}
    assert numbers.changed((link(MAC, 5), link(OTHER, 4)), ()) == frozenset()


def test_one_that_was_away_at_a_sweep_has_if_it_comes_back_as_another():
    numbers = ENINumbers()
    numbers.changed((link(MAC, 3),), ())
    assert numbers.changed((), (MAC,)) == frozenset()
    assert numbers.changed((link(MAC, 5),), ()) == {MAC}


def test_one_that_was_away_from_the_start_has_when_it_comes():
    numbers = ENINumbers()
    numbers.changed((), (MAC,))
    assert numbers.changed((link(MAC, 3),), ()) == {MAC}
