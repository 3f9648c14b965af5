"""Packets that go no further at each hook, and the reason that their pod's counter says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from terway.linux.ebpf import contract
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.choice_oracle import hash_of
from tests.support.datapath_program import DataPathBench, Outcome, open_datapath_program
from tests.support.service_tables import End, ServiceTables
from tests.support.whole_packets import SYN, TCP, Whole, ip_packet, read_frame

pytestmark = pytest.mark.root

POD_LINK, UPLINK, INSIDE = 1, 3, 5
POD = {4: "192.168.32.1", 6: "fd00:32::1"}
OTHER = {4: "192.168.32.2", 6: "fd00:32::2"}
FAR = {4: "192.168.40.1", 6: "fd00:40::1"}
NODE = {4: "192.168.0.10", 6: "fd00::10"}
WORLD = {4: "198.51.100.7", 6: "2001:db8::7"}
SERVICE = {4: "172.16.0.1", 6: "fc00::1"}
KIND = {4: b"\x08\x00", 6: b"\x86\xdd"}
families = pytest.mark.parametrize("family", [4, 6])

VETH = Endpoint(
    number=EndpointNumber(1),
    kind=EndpointKind.VETH,
    addresses=IPPair(v4=IPv4Address(POD[4]), v6=IPv6Address(POD[6])),
    gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00:32::fffd")),
    eni=4,
    pod_mac=MacAddress("02:00:00:00:00:01"),
    link_mac=MacAddress("02:00:00:00:01:01"),
    mtu_bytes=1500,
)
SIBLING = replace(
    VETH,
    number=EndpointNumber(2),
    addresses=IPPair(v4=IPv4Address(OTHER[4]), v6=IPv6Address(OTHER[6])),
)
CHILD = replace(VETH, number=EndpointNumber(3), kind=EndpointKind.IPVLAN)


@pytest.fixture(scope="module")
def loaded() -> Iterator[DataPathBench]:
    with open_datapath_program() as bench:
        bench.put_endpoint(SIBLING, link=2)
        bench.put_node_address(IPv4Address(NODE[4]))
        bench.put_node_address(IPv6Address(NODE[6]))
        bench.set(
            node4=IPv4Address(NODE[4]).packed,
            node6=IPv6Address(NODE[6]).packed,
            uplink=bench.ifindex(UPLINK),
            uplink_mtu=1500,
            flags=contract.SETTING_SERVICES | contract.SETTING_NODE_IN,
        )
        yield bench


@pytest.fixture
def bench(loaded: DataPathBench) -> DataPathBench:
    loaded.forget()
    loaded.forget("frontends", "sets", "backends", "source_ranges")
    loaded.put_endpoint(VETH, link=POD_LINK)
    return loaded


def sent(family: int, to: str, **changes: object) -> Whole:
    packet = Whole(source=End(POD[family], 40000), destination=End(to, 80))
    return replace(packet, **changes)  # type: ignore[arg-type]  # by name


def out_of(bench: DataPathBench, child: Endpoint, frame: bytes) -> Outcome:
    """Send a frame from inside of a pod, by its own device."""
    bench.put_endpoint(child, link=0)
    return bench.run("out_of_pod", frame, link=INSIDE, endpoint=child.number)


@families
def test_a_packet_whose_headers_are_cut_off(bench, family):
    frame = sent(family, FAR[family]).frame()
    cut = frame[: 14 + {4: 20, 6: 40}[family] + 10]

    assert bench.run("from_pod", cut, link=POD_LINK).losses == ((VETH.number, Loss.MALFORMED),)
    assert out_of(bench, CHILD, cut).losses == ((CHILD.number, Loss.MALFORMED),)


@families
def test_a_tag_where_there_is_no_trunk(bench, family):
    plain = sent(family, FAR[family]).frame()
    for tag in (b"\x81\x00\x00\x05", b"\x88\xa8\x00\x05"):
        tagged = plain[:12] + tag + plain[12:]

        assert out_of(bench, CHILD, tagged).losses == ((CHILD.number, Loss.VLAN),)
        # at a veth the guard has it
        assert bench.run("from_pod", tagged, link=POD_LINK).went_on


@families
def test_a_later_fragment_whose_first_one_was_not_seen(bench, family):
    ends = End(POD[family], 0), End(FAR[family], 0)
    body = bytes(32)
    if family == 4:
        packet = ip_packet(*ends, TCP, body, fragment=5)
    else:
        packet = ip_packet(*ends, 44, bytes((TCP, 0, 0, 40, 0, 0, 0, 9)) + body)
    frame = bytes(12) + KIND[family] + packet

    assert bench.run("from_pod", frame, link=POD_LINK).losses == ((VETH.number, Loss.FRAGMENT),)


def test_the_metadata_service_where_the_pod_may_not(bench):
    barred = replace(CHILD, has_metadata=False)
    frame = sent(4, "100.100.100.200").frame()

    assert out_of(bench, barred, frame).losses == ((CHILD.number, Loss.METADATA),)
    assert out_of(bench, CHILD, frame).losses == ()


@families
def test_a_packet_that_would_travel_too_far_on_to_a_pod_of_the_uplink(bench, family):
    answer = relayed_answer(bench, family, ttl=1)

    assert bench.run("from_uplink", answer.frame(), link=UPLINK).losses == ((0, Loss.TTL),)


@families
def test_a_packet_to_relay_that_is_larger_than_the_link(bench, family):
    answer = relayed_answer(bench, family, payload=bytes(1500))

    assert bench.run("from_uplink", answer.frame(), link=UPLINK).losses == ((0, Loss.TOO_BIG),)


def relayed_answer(bench: DataPathBench, family: int, **changes: object) -> Whole:
    """Return the answer to what the world asked of a service whose endpoint is elsewhere."""
    tables = ServiceTables(bench.maps)
    backend = tables.add_backend(End(FAR[family], 8080), "tcp")
    asked = End(SERVICE[family], 80)
    tables.serve(asked, "tcp", (backend,), flags=contract.FRONTEND_EXTERNAL)
    question = Whole(source=End(WORLD[family], 45000), destination=asked)
    relayed = bench.run("from_uplink", question.frame(), link=UPLINK)
    assert relayed.was_redirected
    return read_frame(relayed.frame).turned(**changes)


@families
def test_a_client_for_whom_no_source_port_is_left(bench, family):
    # given a client that has connections of its own, with each port that it could be given
    tables = ServiceTables(bench.maps)
    server = End(OTHER[family], 8080)
    tables.serve(End(SERVICE[family], 80), "tcp", (tables.add_backend(server, "tcp"),))
    question = sent(family, SERVICE[family])
    chosen = hash_of(question.source, question.destination, TCP)
    for port in (40000, *(32768 + (chosen + turn * 7919) % 28232 for turn in range(8))):
        own = replace(question, source=End(POD[family], port), destination=server, flags=SYN)
        assert bench.run("from_pod", own.frame(), link=POD_LINK).was_redirected

    lost = bench.run("from_pod", question.frame(), link=POD_LINK)

    assert lost.losses == ((VETH.number, Loss.NO_PORT),)
