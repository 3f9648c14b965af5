"""What policies deny is told as they were asked: the real ends, as the side that opened sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.linux.ebpf.told import Asked, Event, ToldMaps, unpack_events, watch
from terway.linux.ring import open_ring
from terway.model.policy_maps import NO_LANES, Content, Generation, Lanes, RuleSetNumber, Turn
from tests.bpf.test_services import CLIENT, SERVER, SERVICE, Services, ask, fresh, got
from tests.support.datapath_program import open_datapath_program
from tests.support.service_tables import End
from tests.support.whole_packets import ACK, SYN

pytestmark = pytest.mark.root

FAMILIES = pytest.mark.parametrize("family", [4, 6])
NOTHING = RuleSetNumber(9)  # has no verdicts, so it allows nothing


@pytest.fixture(scope="module")
def node() -> Iterator[Services]:
    with open_datapath_program() as bench:
        yield fresh(bench)


def deny(node: Services, lanes: Lanes, *, at: int, since: int) -> None:
    """Have an endpoint's policies allow nothing from a generation on."""
    now = Generation(since)
    content = Content(
        generation=now, sides={at: Turn(now, NO_LANES, lanes)}, hosts={}, verdicts={}, pages={}
    )
    maps = PolicyMaps(node.bench.maps)
    maps.remove(maps.read().keys())
    maps.put(content)
    maps.switch(now)


def told(node: Services, *frames: tuple[str, bytes, int]) -> list[Event]:
    """Return what is told of losses while programs see these frames at links."""
    maps = node.bench.maps
    opened = ToldMaps(**{name: maps[name] for name in ("losses", "watching", "untold", "events")})
    watch(opened.watching, Asked(losses=True, flows=False))
    with open_ring(opened.events) as ring:
        for program, frame, link in frames:
            node.bench.run(program, frame, link=link)
        found = list(unpack_events(ring.take()))
    watch(opened.watching, None)
    return found


@FAMILIES
def test_who_may_not_ask_a_service_is_told_with_the_endpoint_behind_it(node, family):
    fresh(node.bench)
    node.offer(family)
    deny(node, Lanes(egress=NOTHING), at=1, since=3)

    (event,) = told(node, ("from_pod", ask(family).frame(), 1))

    assert event.reason is Loss.POLICY_EGRESS
    assert event.flow is not None
    assert str(event.flow.source) == CLIENT[family]
    assert (str(event.flow.destination), event.flow.destination_port) == (SERVER[family], 8080)
    assert event.frontend == (ip_address(SERVICE[family]), 80)


@FAMILIES
def test_an_answer_that_is_cut_is_told_as_its_connection(node, family):
    fresh(node.bench)
    maps = PolicyMaps(node.bench.maps)
    maps.remove(maps.read().keys())
    maps.switch(Generation(5))
    asked = replace(ask(family), destination=End(SERVER[family], 80))
    got(node.send(asked))
    deny(node, Lanes(ingress=NOTHING), at=2, since=6)

    answer = asked.turned(flags=SYN | ACK)
    (event,) = told(node, ("from_pod", answer.frame(), 2))

    assert event.reason is Loss.POLICY_INGRESS
    assert event.flow is not None
    assert (str(event.flow.source), event.flow.destination_port) == (CLIENT[family], 80)
    assert event.frontend is None
