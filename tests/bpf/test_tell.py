"""What is counted of losses, and what is told to who watches (bpf/tell.h)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from terway.linux.ebpf.contract import Happening
from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.told import (
    Asked,
    Event,
    Lost,
    Tuple,
    forget_losses,
    read_left_out,
    read_losses,
    unpack_events,
    watch,
)
from terway.linux.ring import open_ring
from terway.model.address import IPPair
from tests.support.tell_program import FRAME, TellProgram, build_tell, open_tell

pytestmark = pytest.mark.root

A, B = IPv4Address("192.168.32.1"), IPv4Address("192.168.32.2")
A6, B6 = IPv6Address("2408::1"), IPv6Address("2408::2")
FLOW = Tuple(source=A, destination=B, source_port=40000, destination_port=80, protocol=6)
FLOW6 = replace(FLOW, source=A6, destination=B6)
ALL = Asked(losses=True, flows=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build_tell(tmp_path_factory.mktemp("tell"))


@pytest.fixture
def program(built) -> Iterator[TellProgram]:
    with open_tell(built, Path("/sys/fs/bpf/tell")) as opened:
        yield opened


def told(program: TellProgram) -> list[Event]:
    with open_ring(program.maps.events) as ring:
        return list(unpack_events(ring.take()))


def test_losses_are_counted_by_endpoint_and_reason_whether_or_not_anybody_watches(program):
    for _ in range(3):
        program.lose(Loss.POLICY_EGRESS, endpoint=7, flow=FLOW)
    program.lose(Loss.MALFORMED)

    assert read_losses(program.maps.losses) == (
        Lost(endpoint=0, reason=Loss.MALFORMED, packets=1, bytes=len(FRAME)),
        Lost(endpoint=7, reason=Loss.POLICY_EGRESS, packets=3, bytes=3 * len(FRAME)),
    )


def test_nothing_is_told_while_nobody_watches(program):
    program.lose(Loss.TTL, endpoint=7, flow=FLOW)
    program.happen(Happening.OPEN, FLOW, endpoint=7)

    assert told(program) == []
    assert read_left_out(program.maps.untold) == 0


def test_who_watches_is_told_of_a_loss_with_its_reason(program):
    watch(program.maps.watching, ALL)

    program.lose(Loss.POLICY_INGRESS, endpoint=7, flow=FLOW6)

    (event,) = told(program)
    assert (event.happening, event.reason) == (Happening.LOSS, Loss.POLICY_INGRESS)
    assert (event.endpoint, event.flow, event.frontend) == (7, FLOW6, None)
    assert event.bytes == len(FRAME)


def test_a_loss_of_what_could_not_be_read_is_told_without_a_connection(program):
    watch(program.maps.watching, ALL)

    program.lose(Loss.MALFORMED, endpoint=7)

    (event,) = told(program)
    assert event.flow is None


def test_who_watches_is_told_of_a_connection_and_its_service(program):
    watch(program.maps.watching, ALL)
    frontend = (IPv4Address("172.16.0.10"), 443)

    program.happen(Happening.OPEN, FLOW, endpoint=7, frontend=frontend)

    (event,) = told(program)
    assert (event.happening, event.flow, event.frontend) == (Happening.OPEN, FLOW, frontend)


@pytest.mark.parametrize(("losses", "flows"), [(True, False), (False, True)])
def test_only_what_is_asked_for_is_told(program, losses, flows):
    watch(program.maps.watching, Asked(losses=losses, flows=flows))

    program.lose(Loss.TTL, flow=FLOW)
    program.happen(Happening.OPEN, FLOW)

    (event,) = told(program)
    assert (event.happening is Happening.LOSS) is losses


def test_of_one_pod_is_told_what_happens_at_its_link_and_to_its_addresses_anywhere(program):
    watch(program.maps.watching, replace(ALL, endpoint=7, addresses=IPPair(v4=B, v6=A6)))

    program.lose(Loss.MALFORMED, endpoint=7)  # its link
    program.lose(Loss.POLICY_INGRESS, endpoint=3, flow=FLOW)  # to its IPv4 address
    program.happen(Happening.OPEN, FLOW6, endpoint=3)  # from its IPv6 address
    program.lose(Loss.TTL, endpoint=3, flow=replace(FLOW, destination=A))
    program.happen(Happening.OPEN, replace(FLOW6, source=B6), endpoint=3)

    assert [(one.endpoint, one.reason) for one in told(program)] == [
        (7, Loss.MALFORMED),
        (3, Loss.POLICY_INGRESS),
        (3, Loss.NONE),
    ]


def test_of_a_connection_everything_is_told_or_nothing_and_of_many_one_in_so_many(program):
    watch(program.maps.watching, replace(ALL, one_in=4, per_second=10_000))
    flows = [replace(FLOW, source_port=port) for port in range(30_000, 31_000)]

    for flow in flows:
        program.happen(Happening.OPEN, flow)
        program.happen(Happening.CLOSE, flow)

    events = told(program)
    opened = {one.flow for one in events if one.happening is Happening.OPEN}
    closed = {one.flow for one in events if one.happening is Happening.CLOSE}
    assert opened == closed
    assert 150 < len(opened) < 350  # a quarter of a thousand, whatever the ports hash to


def test_what_is_above_the_budget_of_a_second_is_counted_and_not_told(program):
    watch(program.maps.watching, replace(ALL, per_second=5))

    for _ in range(200):
        program.lose(Loss.TTL, flow=FLOW)

    events = told(program)
    # The second may change meanwhile.
    assert len(events) <= 50
    assert len(events) + read_left_out(program.maps.untold) == 200
    assert read_losses(program.maps.losses)[0].packets == 200


def test_a_full_ring_loses_messages_and_no_packet(program):
    watch(program.maps.watching, replace(ALL, per_second=100_000))

    for _ in range(4000):
        program.lose(Loss.TTL, flow=FLOW)

    events = told(program)
    assert 2000 < len(events) < 4000
    assert len(events) + read_left_out(program.maps.untold) == 4000


def test_losses_of_endpoints_that_went_are_forgotten_and_returned(program):
    for endpoint in (0, 1, 2):
        program.lose(Loss.TTL, endpoint=endpoint)

    gone = forget_losses(program.maps.losses, {2})

    assert [one.endpoint for one in gone] == [1]
    assert [one.endpoint for one in read_losses(program.maps.losses)] == [0, 2]


def test_losses_are_counted_as_nobodys_where_there_is_no_room_for_another_pod(program):
    room = program.maps.losses.max_entries
    value = bytes(program.maps.losses.value_bytes)
    for number in range(room - 1):
        program.maps.losses.update((1000 + number).to_bytes(4, "little") + bytes(4), value)
    program.lose(Loss.TTL)  # nobody's own entry takes the last room

    program.lose(Loss.TTL, endpoint=7)

    found = [one for one in read_losses(program.maps.losses) if one.endpoint in (0, 7)]
    assert [(one.endpoint, one.packets) for one in found] == [(0, 2)]
