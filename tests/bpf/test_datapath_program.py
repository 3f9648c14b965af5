"""The data path's object: the kernel takes it, and a frame goes where the maps say."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest

from terway.linux.ebpf.contract import SETTING_SERVICES
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.datapath_program import GO_ON, SHOT, DataPathBench, open_datapath_program
from tests.support.frames import ipv4

pytestmark = pytest.mark.root

GATEWAYS = IPPair(v4=IPv4Address("192.168.63.253"))
NODE, FAR = IPv4Address("192.168.0.10"), IPv4Address("192.168.40.1")


def endpoint(number: int, address: str, **changes: object) -> Endpoint:
    given = {
        "number": EndpointNumber(number),
        "kind": EndpointKind.VETH,
        "addresses": IPPair(v4=IPv4Address(address)),
        "gateways": GATEWAYS,
        "eni": 1,
        "pod_mac": MacAddress(f"02:00:00:00:00:{number:02x}"),
        "link_mac": MacAddress(f"02:00:00:00:01:{number:02x}"),
    }
    return Endpoint(**{**given, **changes})  # type: ignore[arg-type]  # by name


A, B = endpoint(1, "192.168.32.1"), endpoint(2, "192.168.32.2")


def echo(source: Endpoint, destination: IPv4Address | None) -> bytes:
    assert source.addresses.v4 is not None
    assert destination is not None
    head = bytes.fromhex((source.link_mac + source.pod_mac).replace(":", "")) + b"\x08\x00"
    return head + ipv4(source.addresses.v4, destination, 1, b"\x08\0\0\0\0\x07\0\x01" + bytes(24))


@pytest.fixture(scope="module")
def loaded():
    with open_datapath_program() as bench:
        bench.put_endpoint(A, link=1)
        bench.put_endpoint(B, link=2)
        bench.put_node_address(NODE)
        yield bench


@pytest.fixture
def bench(loaded: DataPathBench):
    loaded.forget()
    return loaded


def test_the_verifier_walks_each_program_far_below_its_limit(bench):
    assert max(bench.verified_instructions().values()) < 500_000


def test_a_packet_for_a_pod_of_the_node_goes_into_it_by_its_hardware_address(bench):
    outcome = bench.run("from_pod", echo(A, B.addresses.v4), link=1)

    assert outcome.was_redirected
    assert outcome.frame[:6] == bytes.fromhex(B.pod_mac.replace(":", ""))


def test_a_packet_for_the_vpc_leaves_past_the_stack(bench):
    assert bench.run("from_pod", echo(A, FAR), link=1).was_redirected


def test_a_packet_for_the_node_is_its_stacks(bench):
    assert bench.run("from_pod", echo(A, NODE), link=1).verdict == GO_ON


def test_a_prefix_of_the_host_stack_is_the_stacks(bench):
    bench.put_host_stack(ip_network(f"{FAR}/24", strict=False))

    assert bench.run("from_pod", echo(A, FAR), link=1).verdict == GO_ON
    bench.forget("host_stack")


def test_a_link_that_nobody_spoke_for_is_closed_and_counted(bench):
    outcome = bench.run("from_pod", echo(A, FAR), link=3)

    assert outcome.verdict == SHOT
    assert outcome.losses == ((0, Loss.UNKNOWN_POD),)


def test_what_comes_by_the_eni_for_a_pod_goes_into_it(bench):
    bench.set(flags=SETTING_SERVICES)

    assert bench.run("from_eni", echo(B, A.addresses.v4), link=4).was_redirected


def test_where_others_do_services_an_unknown_answer_by_the_eni_is_the_stacks(bench):
    bench.set()

    assert bench.run("from_eni", echo(B, A.addresses.v4), link=4).verdict == GO_ON


def test_inside_a_pod_the_stamp_says_who_it_is(bench):
    assert bench.run("out_of_pod", echo(A, FAR), link=5, endpoint=A.number).went_on
    assert bench.run("out_of_pod", echo(A, FAR), link=5).losses == ((0, Loss.UNKNOWN_POD),)


def test_inside_a_pod_a_foreign_source_is_lost(bench):
    outcome = bench.run("out_of_pod", echo(A, FAR), link=5, endpoint=B.number)

    assert outcome.losses == ((B.number, Loss.SOURCE),)
