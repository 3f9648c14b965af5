"""What a service does to a packet is what the oracle makes from nothing, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.ebpf import contract
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.choice_oracle import hash_of, highest
from tests.support.datapath_program import DataPathBench, open_datapath_program
from tests.support.service_tables import End, ServiceTables
from tests.support.translation_oracle import KIND, SCTP, Shape, frames
from tests.support.whole_packets import ACK, MACS, SYN, TCP, UDP

pytestmark = pytest.mark.root

NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
CLIENT = {4: "192.168.32.1", 6: "fd00:32::1"}
SERVER = {4: "192.168.32.2", 6: "fd00:32::2"}
SERVICE = {4: "172.16.0.1", 6: "fc00::1"}
BACK_PORT = 8080
_SOME = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def endpoint(number: int, addresses: dict[int, str]) -> Endpoint:
    return Endpoint(
        number=EndpointNumber(number),
        kind=EndpointKind.VETH,
        addresses=IPPair(v4=IPv4Address(addresses[4]), v6=IPv6Address(addresses[6])),
        gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00:32::fffd")),
        eni=4,
        pod_mac=MacAddress(f"02:00:00:00:00:0{number}"),
        link_mac=MacAddress(f"02:00:00:00:01:0{number}"),
        mtu_bytes=1500,
    )


@pytest.fixture(scope="module")
def bench() -> Iterator[DataPathBench]:
    with open_datapath_program() as opened:
        opened.put_endpoint(endpoint(1, CLIENT), link=1)
        opened.put_endpoint(endpoint(2, SERVER), link=2)
        opened.set(flags=contract.SETTING_SERVICES)
        yield opened


@st.composite
def shapes(draw: st.DrawFn, family: int) -> Shape:
    """Packets that may travel: of SCTP no pieces, of UDP over IPv6 none without a checksum."""
    protocol = draw(st.sampled_from([TCP, UDP, SCTP]))
    payload = draw(st.binary(min_size=40, max_size=120))
    pieces = protocol != SCTP and draw(st.booleans())
    return Shape(
        protocol=protocol,
        payload=payload,
        tcp_flags=SYN,
        words=draw(st.integers(0, 10 if family == 4 else 4)),
        cut=draw(st.sampled_from([24, 32, 40])) if pieces else 0,
        has_sum=protocol == TCP or (family == 6 and protocol == UDP) or draw(st.booleans()),
    )


def offer(bench: DataPathBench, family: int, protocol: int, others: int) -> dict[int, End]:
    """Serve by the other pod and by some elsewhere; return the backends by number."""
    bench.forget()
    bench.forget("frontends", "sets", "backends")
    tables = ServiceTables(bench.maps)
    far = "10.9.0.{}" if family == 4 else "fd09::{}"
    ends = [End(SERVER[family], BACK_PORT)]
    ends += [End(far.format(turn), BACK_PORT) for turn in range(1, others + 1)]
    numbered = {tables.add_backend(end, NAMES[protocol]): end for end in ends}
    tables.serve(End(SERVICE[family], 80), NAMES[protocol], tuple(numbered))
    return numbered


@_SOME
@given(data=st.data(), family=st.sampled_from([4, 6]), port=st.integers(1, 65535))
def test_a_question_goes_to_the_backend_as_if_it_had_been_sent_there(bench, data, family, port):
    shape = data.draw(shapes(family))
    backends = offer(bench, family, shape.protocol, data.draw(st.integers(0, 4)))
    source, asked = End(CLIENT[family], port), End(SERVICE[family], 80)
    chosen = backends[highest(list(backends), hash_of(source, asked, shape.protocol))]

    sent = frames(shape, source, asked, macs=MACS)
    came = [bench.run("from_pod", frame, link=1) for frame in sent]

    assert [one.losses for one in came] == [()] * len(sent)
    expected = frames(shape, source, chosen, macs=MACS, ttl=63)
    assert [one.frame[12:] for one in came] == [one[12:] for one in expected]


@_SOME
@given(data=st.data(), family=st.sampled_from([4, 6]), port=st.integers(1, 65535))
def test_an_answer_comes_from_the_service_as_if_it_had_been_sent_by_it(bench, data, family, port):
    shape = data.draw(shapes(family))
    offer(bench, family, shape.protocol, 0)
    client, server = End(CLIENT[family], port), End(SERVER[family], BACK_PORT)
    asked = End(SERVICE[family], 80)
    question = Shape(protocol=shape.protocol, payload=bytes(40), tcp_flags=SYN)
    bench.run("from_pod", frames(question, client, asked, macs=MACS)[0], link=1)
    answer = Shape(
        protocol=shape.protocol,
        payload=shape.payload,
        tcp_flags=SYN | ACK,
        words=shape.words,
        cut=shape.cut,
        has_sum=shape.has_sum,
    )

    came = [
        bench.run("from_pod", frame, link=2) for frame in frames(answer, server, client, macs=MACS)
    ]

    assert [one.losses for one in came] == [()] * len(came)
    expected = frames(answer, asked, client, macs=MACS, ttl=63)
    assert [one.frame[12:] for one in came] == [one[12:] for one in expected]


@_SOME
@given(data=st.data(), family=st.sampled_from([4, 6]))
def test_what_is_cut_off_or_spoilt_is_lost_with_a_reason_or_goes_on_whole(bench, data, family):
    shape = data.draw(shapes(family))
    offer(bench, family, shape.protocol, 2)
    whole = frames(shape, End(CLIENT[family], 40000), End(SERVICE[family], 80), macs=MACS)[0]
    size = data.draw(st.integers(34 if family == 4 else 54, len(whole)))
    spoilt = bytearray(whole[:size])
    for place in data.draw(st.lists(st.integers(14, size - 1), max_size=4)):
        spoilt[place] = data.draw(st.integers(0, 255))

    came = bench.run("from_pod", bytes(spoilt), link=1)

    if came.losses:
        ((pod, reason),) = came.losses
        assert pod in (1, 2)
        assert reason is not Loss.NONE
    else:
        assert came.went_on or came.was_redirected
        assert len(came.frame) == len(spoilt)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    "tag", [b"\x81\x00\x00\x05", b"\x88\xa8\x0f\xff"], ids=["802.1Q", "802.1ad"]
)
def test_what_has_a_tag_is_for_no_service(bench, family, tag):
    offer(bench, family, TCP, 0)
    shape = Shape(protocol=TCP, payload=bytes(40), tcp_flags=SYN)
    whole = frames(shape, End(CLIENT[family], 40000), End(SERVICE[family], 80), macs=MACS)[0]
    tagged = whole[:12] + tag + KIND[family] + whole[14:]

    came = bench.run("from_pod", tagged, link=1)

    assert came.went_on  # the guard, which is before, takes none; nor has the node a link for it
    assert came.frame == tagged
    assert bench.flows() == {}
