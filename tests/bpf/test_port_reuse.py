"""A client's port is used again: what was said of it before is of another connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bpf.test_services import CLIENT, FAMILIES, SERVER, Services, ask, fresh, got
from tests.support.datapath_program import open_datapath_program
from tests.support.service_tables import End
from tests.support.whole_packets import ACK, FIN, RST, SYN, TCP, Whole

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def node() -> Iterator[Services]:
    with open_datapath_program() as bench:
        yield fresh(bench)


def straight(family: int, flags: int = SYN) -> Whole:
    """Return what the client sends to the backend itself, from the port that asked the service."""
    return Whole(
        source=End(CLIENT[family], 40000),
        destination=End(SERVER[family], 8080),
        protocol=TCP,
        flags=flags,
    )


def end_by_fin(node: Services, family: int) -> None:
    node.send(ask(family, flags=FIN | ACK))
    node.send(straight(family).turned(flags=FIN | ACK), link=2)


def end_by_reset(node: Services, family: int) -> None:
    node.send(ask(family, flags=RST))


@FAMILIES
@pytest.mark.parametrize("end", [end_by_fin, end_by_reset])
def test_who_asks_the_backend_itself_after_the_service_is_answered_by_it(node, family, end):
    """Bug class 41."""
    node.bench.forget()
    node.offer(family)
    node.send(ask(family))
    node.send(straight(family).turned(flags=SYN | ACK), link=2)
    end(node, family)

    node.send(straight(family))
    answer = got(node.send(straight(family).turned(flags=SYN | ACK), link=2))

    assert answer.source == End(SERVER[family], 8080)
    assert answer.destination == End(CLIENT[family], 40000)


@FAMILIES
def test_who_asks_the_service_after_the_backend_itself_is_answered_by_it(node, family):
    node.bench.forget()
    node.offer(family)
    node.send(straight(family))
    node.send(straight(family, RST))

    asked = got(node.send(ask(family)))
    answer = got(node.send(asked.turned(flags=SYN | ACK), link=2))

    assert answer.source == ask(family).destination
