"""Sets of ports: exact algebra, one value for one set."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.policy.cluster import Protocol
from terway.policy.ports import EVERY_PORT, LAST_PORT, NOTHING, PortSet, ports_of, union

# Near both ends and near each other, where a step too far shows.
_EDGES = st.sampled_from((0, 1, 2, 3, 79, 80, 81, 82, LAST_PORT - 1, LAST_PORT))
_SPANS = st.tuples(st.sampled_from(Protocol), _EDGES, _EDGES)
PROBES = [(p, n) for p in Protocol for n in (0, 1, 2, 3, 4, 78, 79, 80, 81, 82, 83, 65534, 65535)]


@st.composite
def _sets(draw: st.DrawFn) -> PortSet:
    spans = draw(st.lists(_SPANS, max_size=5))
    return union(ports_of(p, min(a, b), max(a, b)) for p, a, b in spans)


@settings(deadline=None)
@given(_sets(), _sets())
def test_sets_are_what_their_members_are(left, right):
    for protocol, port in PROBES:
        is_left, is_right = left.has(protocol, port), right.has(protocol, port)

        assert (left | right).has(protocol, port) is (is_left or is_right)
        assert (left & right).has(protocol, port) is (is_left and is_right)
        assert (left - right).has(protocol, port) is (is_left and not is_right)
        assert left.complement().has(protocol, port) is not is_left


@settings(deadline=None)
@given(_sets(), _sets())
def test_equal_sets_are_equal_values(left, right):
    assert left | right == right | left
    assert left & right == right & left
    assert (left - right) | (left & right) == left
    assert left.complement().complement() == left
    assert union(ports_of(*span) for span in left) == left
    assert bool(left) is (left != NOTHING)


@pytest.mark.parametrize(
    ("spans", "intervals"),
    [
        ([(1, 2), (3, 4)], ((1, 4),)),
        ([(1, 2), (4, 5)], ((1, 2), (4, 5))),
        ([(10, 20), (15, 30), (0, 65535)], ((0, 65535),)),
        ([(5, 6), (1, 9)], ((1, 9),)),
    ],
)
def test_neighbours_and_overlaps_become_one_interval(spans, intervals):
    assert union(ports_of(Protocol.TCP, *span) for span in spans).tcp == intervals


def test_every_port_is_every_port_of_every_protocol():
    assert all(EVERY_PORT.has(protocol, port) for protocol, port in PROBES)
    assert EVERY_PORT.complement() == NOTHING
    assert EVERY_PORT - NOTHING == EVERY_PORT


def test_a_protocol_without_ports_has_the_one_number():
    assert list(ports_of(Protocol.OTHER, 0, 0)) == [(Protocol.OTHER, 0, 0)]
    assert ports_of(Protocol.OTHER, 0, 0).has(Protocol.OTHER, 8)
