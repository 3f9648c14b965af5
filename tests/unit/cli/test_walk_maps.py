"""What the data path's own maps say of a packet, beside what the policies say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from terway.cli.hops import Hop, Packet, State, fail, ok
from terway.cli.walk_maps import with_maps
from terway.model.policy_maps import NO_LANES, Content, Generation, Lanes, RuleSetNumber, Turn
from tests.support.datapath_snapshot import number_of, with_datapath
from tests.support.snapshots import FAR, NEAR, A

PACKET = Packet(source=A, destination=NEAR, port=80)
NODE = with_datapath(does_policy=True)
OPEN = Content(generation=Generation(1))
ALLOWED = ok("policies", "verdict", "allowed")
FAILED = fail("policies", "verdict", "denied by default/nobody", "allow it")
DENIED = replace(FAILED, denied_at=(NEAR,))


def closed(name: str) -> Content:
    """Return maps that let nothing into a pod."""
    lanes = Lanes(ingress=RuleSetNumber(5))
    turn = Turn(Generation(0), NO_LANES, lanes)
    return replace(OPEN, sides={number_of(name): turn})


def walked(said: Hop, content: Content | None) -> list[Hop]:
    def hops() -> Iterator[Hop]:
        yield said

    return list(with_maps(hops(), NODE, content, PACKET, 80))


def test_maps_that_agree_are_told_with_whose_ends_they_judge():
    (first, second) = walked(ALLOWED, OPEN)

    assert first == ALLOWED
    assert second.text == (
        "the maps allow it at egress of pod default/a and ingress of pod default/near"
    )


def test_maps_that_deny_what_policies_allow_are_the_hop_that_fails():
    failed = walked(ALLOWED, closed("near"))[-1]

    assert failed.state is State.FAIL
    assert failed.text == (
        "the maps deny it at ingress of pod default/near, which is not what policies say"
    )
    assert "terway-cli policy verify" in failed.remedy


def test_maps_that_let_pass_what_policies_deny_are_told_with_the_denial():
    (only,) = walked(DENIED, OPEN)

    assert only.text.startswith(
        "denied by default/nobody; but the maps of the data path let it pass"
        " at ingress of pod default/near: terway-cli policy verify"
    )


def test_what_another_node_denies_is_not_held_against_the_maps_of_this_one():
    denied = replace(FAILED, denied_at=(FAR,))
    packet = replace(PACKET, destination=FAR)

    assert list(with_maps(iter([denied]), NODE, OPEN, packet, 80)) == [denied]


def test_of_two_ends_only_the_one_that_policies_deny_is_held_against_the_maps():
    denied = replace(FAILED, denied_at=(A,))

    assert "let it pass at egress of pod default/a: " in walked(denied, OPEN)[0].text


def test_where_both_deny_the_policies_say_why():
    assert walked(DENIED, closed("near")) == [DENIED]


def test_without_maps_the_policies_alone_are_told():
    assert walked(ALLOWED, None) == [ALLOWED]


def test_an_end_that_is_not_restricted_is_not_denied_for_the_others_sake():
    """A pod's ingress rules say nothing of what it sends."""
    hops = walked(ALLOWED, closed("a"))

    assert hops[-1].state is State.OK
