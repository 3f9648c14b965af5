"""Who is denied by policies is told at once where `network_policy_denied` is `reject`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.linux.ebpf.contract import SETTING_REJECT, SETTING_SERVICES
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from terway.model.policy_maps import Lanes
from tests.bpf.test_denied_told import NOTHING, deny
from tests.bpf.test_services import CLIENT, SERVER, SERVICE, Services, ask, fresh, lost
from tests.support.datapath_program import open_datapath_program
from tests.support.service_tables import End
from tests.support.whole_packets import ACK, RST, UDP, read_error, read_frame

pytestmark = pytest.mark.root

FAMILIES = pytest.mark.parametrize("family", [4, 6])
PROHIBITED = {4: (3, 13), 6: (1, 1)}  # type and code of ICMP


@pytest.fixture(scope="module")
def loaded() -> Iterator[Services]:
    with open_datapath_program() as bench:
        yield fresh(bench)


@pytest.fixture
def node(loaded: Services) -> Services:
    found = fresh(loaded.bench)
    found.bench.set(flags=SETTING_SERVICES | SETTING_REJECT)
    return found


def error_in(frame: bytes, family: int) -> tuple[int, int]:
    start = 34 if family == 4 else 54
    return frame[start], frame[start + 1]


@FAMILIES
@pytest.mark.parametrize("side", [1, 2], ids=["egress", "ingress of a pod here"])
def test_a_pods_connection_is_reset(node, family, side):
    deny(node, Lanes(egress=NOTHING, ingress=NOTHING), at=side, since=3)
    packet = replace(ask(family, payload=b""), destination=End(SERVER[family], 80))

    outcome = node.send(packet)

    assert outcome.was_redirected
    assert lost(outcome) is (Loss.POLICY_EGRESS if side == 1 else Loss.POLICY_INGRESS)
    reset = read_frame(outcome.frame)
    assert (reset.source, reset.destination) == (packet.destination, packet.source)
    assert (reset.flags, reset.payload) == (RST | ACK, b"")


@FAMILIES
def test_a_client_of_a_service_is_told_as_it_asked(node, family):
    node.offer(family)
    deny(node, Lanes(egress=NOTHING), at=1, since=3)
    packet = ask(family, payload=b"")

    reset = read_frame(node.send(packet).frame)

    assert (reset.source, reset.destination) == (End(SERVICE[family], 80), packet.source)


@FAMILIES
def test_a_datagram_is_prohibited(node, family):
    deny(node, Lanes(egress=NOTHING), at=1, since=3)
    packet = replace(ask(family, UDP, payload=b""), destination=End(SERVER[family], 80))

    outcome = node.send(packet)

    source, destination, quoted = read_error(outcome.frame)
    assert (source, destination) == (SERVER[family], CLIENT[family])
    assert (quoted.source, quoted.destination) == (packet.source, packet.destination)
    assert error_in(outcome.frame, family) == PROHIBITED[family]


@FAMILIES
def test_who_asks_from_elsewhere_is_told_by_where_the_packet_came_from(node, family):
    deny(node, Lanes(ingress=NOTHING), at=2, since=3)
    far = "192.168.99.9" if family == 4 else "fd00:99::9"
    packet = replace(
        ask(family, payload=b""), source=End(far, 5), destination=End(SERVER[family], 80)
    )

    outcome = node.bench.run("from_eni", packet.frame(), link=3)

    assert outcome.was_redirected
    assert read_frame(outcome.frame).destination == packet.source


@FAMILIES
def test_inside_a_pod_it_is_told_by_its_own_device(node, family):
    v4, v6 = IPv4Address(CLIENT[4]), IPv6Address(CLIENT[6])
    inside = Endpoint(
        number=EndpointNumber(1),
        kind=EndpointKind.EXCLUSIVE,
        addresses=IPPair(v4=v4, v6=v6),
        pod_mac=MacAddress("02:00:00:00:00:01"),
    )
    node.bench.put_endpoint(inside, link=0)
    deny(node, Lanes(egress=NOTHING), at=1, since=3)
    packet = replace(ask(family, payload=b""), destination=End(SERVER[family], 80))

    outcome = node.bench.run("out_of_pod", packet.frame(), endpoint=1)

    assert outcome.was_redirected
    assert read_frame(outcome.frame).destination == packet.source


@FAMILIES
def test_without_the_option_nobody_is_told(node, family):
    node.bench.set(flags=SETTING_SERVICES)
    deny(node, Lanes(egress=NOTHING), at=1, since=3)

    outcome = node.send(replace(ask(family), destination=End(SERVER[family], 80)))

    assert lost(outcome) is Loss.POLICY_EGRESS
    assert not outcome.was_redirected
