"""Who asks a node from outside gets the service, and never sees where it is: packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.ebpf import contract
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.datapath_program import DataPathBench, open_datapath_program
from tests.support.service_tables import End, ServiceTables
from tests.support.whole_packets import (
    ACK,
    TCP,
    UDP,
    Whole,
    icmp_error,
    ip_packet,
    read_error,
    read_frame,
)

pytestmark = pytest.mark.root

UPLINK, POD_LINK = 3, 1
NODE = {4: "192.168.0.10", 6: "fd00::10"}
POD = {4: "192.168.32.1", 6: "fd00:32::1"}
FAR = {4: "192.168.40.1", 6: "fd00:40::1"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8::7"}
ROUTER = {4: "198.51.100.254", 6: "2001:db8::fe"}
BALANCER = {4: "203.0.113.5", 6: "2001:db8:5::5"}
ANYWHERE = {4: "0.0.0.0", 6: "::"}
NAMES = {TCP: "tcp", UDP: "udp"}
OUTSIDE = contract.FRONTEND_EXTERNAL
FLAGS = contract.SETTING_SERVICES | contract.SETTING_NODE_IN
RELAY_PORTS = range(13616, 30000)

ENDPOINT = Endpoint(
    number=EndpointNumber(1),
    kind=EndpointKind.VETH,
    addresses=IPPair(v4=IPv4Address(POD[4]), v6=IPv6Address(POD[6])),
    gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00:32::fffd")),
    eni=4,
    pod_mac=MacAddress("02:00:00:00:00:01"),
    link_mac=MacAddress("02:00:00:00:01:01"),
    mtu_bytes=1500,
)


class Entry(ServiceTables):
    """A node with a pod, and services that it offers to who is outside."""

    def __init__(self, bench: DataPathBench) -> None:
        super().__init__(bench.maps)
        self.bench = bench
        bench.put_endpoint(ENDPOINT, link=POD_LINK)
        for address in (IPv4Address(NODE[4]), IPv6Address(NODE[6])):
            bench.put_node_address(address)
        self.settle()

    def settle(self, flags: int = FLAGS) -> None:
        self.bench.set(
            node4=IPv4Address(NODE[4]).packed,
            node6=IPv6Address(NODE[6]).packed,
            gateway4=IPv4Address("192.168.31.253").packed,
            gateway6=IPv6Address("fd00::fffd").packed,
            uplink=self.bench.ifindex(UPLINK),
            uplink_mtu=1500,
            flags=flags,
        )

    def offer(self, backend: str, frontend: End, protocol: int = TCP, **given: Any) -> int:
        """Offer one backend, at port 8080 of `backend`."""
        number = self.add_backend(End(backend, 8080), NAMES[protocol])
        flags = OUTSIDE | given.pop("flags", 0)
        self.serve(frontend, NAMES[protocol], (number,), flags=flags, **given)
        return number


@pytest.fixture(scope="module")
def loaded() -> Iterator[Entry]:
    with open_datapath_program() as bench:
        yield Entry(bench)


@pytest.fixture
def node(loaded: Entry) -> Entry:
    loaded.bench.forget()
    loaded.bench.forget("frontends", "sets", "backends", "source_ranges")
    loaded.settle()
    return loaded


def asked(frontend: End, *, family: int = 4, protocol: int = TCP, port: int = 45000) -> Whole:
    return Whole(source=End(CLIENT[family], port), destination=frontend, protocol=protocol)


both = pytest.mark.parametrize("family", [4, 6])
protocols = pytest.mark.parametrize("protocol", [TCP, UDP])


@both
@protocols
@pytest.mark.parametrize("at", ["node port", "load balancer"])
def test_a_pod_of_the_node_sees_the_client_and_the_client_sees_the_service(
    node, family, protocol, at
):
    frontend = End(NODE[family], 30080) if at == "node port" else End(BALANCER[family], 80)
    key = End(ANYWHERE[family], 30080) if at == "node port" else frontend
    node.offer(POD[family], key, protocol)
    question = asked(frontend, family=family, protocol=protocol)

    came = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    seen = read_frame(came.frame)
    assert came.was_redirected
    assert (seen.source, seen.destination) == (question.source, End(POD[family], 8080))
    assert seen.ttl == question.ttl - 1
    assert seen.payload == question.payload

    left = node.bench.run("from_pod", seen.turned(ttl=64).frame(), link=POD_LINK)

    answer = read_frame(left.frame)
    assert left.was_redirected
    assert (answer.source, answer.destination) == (frontend, question.source)


@both
@protocols
def test_a_backend_elsewhere_is_asked_by_the_node_and_its_answer_goes_to_the_client(
    node, family, protocol
):
    frontend = End(NODE[family], 30080)
    node.offer(FAR[family], End(ANYWHERE[family], 30080), protocol)
    question = asked(frontend, family=family, protocol=protocol)

    went = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    relayed = read_frame(went.frame)
    assert went.was_redirected
    assert relayed.source.host == NODE[family]
    assert relayed.source.port in RELAY_PORTS
    assert relayed.destination == End(FAR[family], 8080)

    back = node.bench.run("from_uplink", relayed.turned(ttl=64).frame(), link=UPLINK)

    answer = read_frame(back.frame)
    assert back.was_redirected
    assert (answer.source, answer.destination) == (frontend, question.source)


@both
def test_a_process_of_the_node_answers_as_the_service(node, family):
    frontend = End(BALANCER[family], 80)
    node.offer(NODE[family], frontend)
    question = asked(frontend, family=family)

    came = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    seen = read_frame(came.frame)
    assert came.went_on
    assert (seen.source, seen.destination) == (question.source, End(NODE[family], 8080))

    left = node.bench.run("to_uplink", seen.turned().frame(), link=UPLINK)

    answer = read_frame(left.frame)
    assert left.went_on
    assert (answer.source, answer.destination) == (frontend, question.source)


@both
def test_a_pod_that_is_a_child_of_its_eni_answers_by_the_node(node, family):
    # given a pod with programs inside, whose answers come out at the ENI
    child = replace(ENDPOINT, kind=EndpointKind.IPVLAN)
    node.bench.put_endpoint(child, link=POD_LINK)
    frontend = End(BALANCER[family], 80)
    node.offer(POD[family], frontend)
    question = asked(frontend, family=family)

    # when it is asked, and answers
    came = node.bench.run("from_uplink", question.frame(), link=UPLINK)
    seen = read_frame(came.frame)
    inner = node.bench.run("into_pod", came.frame, link=5, endpoint=child.number)
    reply = node.bench.run("out_of_pod", seen.turned(ttl=64).frame(), link=5, endpoint=child.number)
    left = node.bench.run("from_eni", reply.frame, link=4)
    node.bench.put_endpoint(ENDPOINT, link=POD_LINK)

    # then its frame is for the ENI itself, and the client has the service's answer from the uplink
    answer = read_frame(left.frame)
    assert came.was_redirected
    assert inner.went_on
    assert reply.frame[:6] == bytes.fromhex(child.pod_mac.replace(":", ""))
    assert left.was_redirected
    assert (answer.source, answer.destination) == (frontend, question.source)


@both
def test_a_pod_with_an_eni_of_its_own_answers_by_its_second_leg(node, family):
    # given a backend with an ENI of its own
    own = replace(ENDPOINT, kind=EndpointKind.EXCLUSIVE, eni=0, leg=node.bench.ifindex(6))
    node.bench.put_endpoint(own, link=POD_LINK)
    frontend = End(BALANCER[family], 80)
    node.offer(POD[family], frontend)
    question = asked(frontend, family=family)

    # when it is asked by its second leg, past the stack, and answers
    came = node.bench.run("from_uplink", question.frame(), link=UPLINK)
    seen = read_frame(came.frame)
    reply = node.bench.run("out_of_pod", seen.turned(ttl=64).frame(), link=5, endpoint=own.number)
    left = node.bench.run("from_pod", reply.frame, link=POD_LINK)
    node.bench.put_endpoint(ENDPOINT, link=POD_LINK)

    # then it does so by the leg, and the node turns that back
    answer = read_frame(left.frame)
    assert came.was_redirected
    assert seen.destination == End(POD[family], 8080)
    assert reply.was_redirected
    assert left.was_redirected
    assert (answer.source, answer.destination) == (frontend, question.source)


def test_clients_with_the_same_port_get_different_ones_of_the_node(node):
    node.offer(FAR[4], End(ANYWHERE[4], 30080))
    seen = set()
    for host in range(1, 5):
        question = replace(asked(End(NODE[4], 30080)), source=End(f"198.51.100.{host}", 45000))

        went = node.bench.run("from_uplink", question.frame(), link=UPLINK)

        relayed = read_frame(went.frame)
        seen.add(relayed.source)
        back = node.bench.run("from_uplink", relayed.turned(ttl=64).frame(), link=UPLINK)
        assert read_frame(back.frame).destination == question.source

    assert len(seen) == 4


def test_a_connection_keeps_its_way_when_its_service_has_other_backends(node):
    # given a connection that is relayed
    first = node.add_backend(End(FAR[4], 8080), "tcp")
    held = node.serve(End(BALANCER[4], 80), "tcp", (first,), flags=OUTSIDE)
    question = asked(End(BALANCER[4], 80))
    before = read_frame(node.bench.run("from_uplink", question.frame(), link=UPLINK).frame)

    # when a backend of this node is the only one for new connections
    node.change_set(held, (node.add_backend(End(POD[4], 8080), "tcp"),))

    # then the old connection stays where it is, and a new one goes there
    more = node.bench.run("from_uplink", replace(question, flags=ACK).frame(), link=UPLINK)
    new = node.bench.run("from_uplink", asked(End(BALANCER[4], 80), port=5).frame(), link=UPLINK)
    assert read_frame(more.frame).source == before.source
    assert read_frame(more.frame).destination == before.destination
    assert read_frame(new.frame).destination.host == POD[4]


def test_affinity_is_by_the_clients_address(node):
    hosts = [f"192.168.40.{number}" for number in range(1, 9)]
    numbers = tuple(node.add_backend(End(host, 8080), "tcp") for host in hosts)
    flags = OUTSIDE | contract.FRONTEND_AFFINITY
    node.serve(End(BALANCER[4], 80), "tcp", numbers, flags=flags, affinity_s=600)

    reached = {
        client: {
            read_frame(
                node.bench.run("from_uplink", question.frame(), link=UPLINK).frame
            ).destination
            for port in range(40000, 40020)
            for question in [replace(asked(End(BALANCER[4], 80)), source=End(client, port))]
        }
        for client in ("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4")
    }

    assert {len(ends) for ends in reached.values()} == {1}
    assert len(set().union(*reached.values())) > 1  # all four at one: once in 500 services


@pytest.mark.parametrize("backend", [POD, FAR], ids=["here", "elsewhere"])
def test_a_terminating_endpoint_keeps_its_connections_and_gets_no_new_ones(node, backend):
    # given a connection to an endpoint
    first = node.offer(backend[4], End(BALANCER[4], 80))
    question = asked(End(BALANCER[4], 80))
    node.bench.run("from_uplink", question.frame(), link=UPLINK)

    # when it terminates, and another takes its place
    held = node.add_backend(End(NODE[4], 8080), "tcp")
    node.serve(End(BALANCER[4], 80), "tcp", (held,), flags=OUTSIDE)
    node.mark_terminating(first, End(backend[4], 8080), "tcp")

    # then what was open goes on, and what is new goes to the other
    more = node.bench.run("from_uplink", replace(question, flags=ACK).frame(), link=UPLINK)
    new = node.bench.run("from_uplink", asked(End(BALANCER[4], 80), port=7).frame(), link=UPLINK)
    assert read_frame(more.frame).destination.host == backend[4]
    assert read_frame(new.frame).destination.host == NODE[4]

    # and when it is gone, what was open is cut
    node.remove_backend(first)
    cut = node.bench.run("from_uplink", replace(question, flags=ACK).frame(), link=UPLINK)
    assert [reason for _, reason in cut.losses] == [Loss.BACKEND_GONE]


@both
def test_what_is_only_for_the_cluster_is_not_offered_outside(node, family):
    number = node.add_backend(End(POD[family], 8080), "tcp")
    node.serve(End("10.96.0.1" if family == 4 else "fd00:96::1", 80), "tcp", (number,))
    question = asked(End("10.96.0.1" if family == 4 else "fd00:96::1", 80), family=family)

    came = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    assert came.went_on
    assert came.frame == question.frame()


@both
def test_source_ranges_keep_others_out(node, family):
    ranges = contract.FRONTEND_SOURCE_RANGES
    for service, network in ((1, f"{CLIENT[family]}"), (2, f"{ROUTER[family]}")):
        node.offer(POD[family], End(BALANCER[family], service), service=service, flags=ranges)
        node.allow(network, service=service)

    inside = asked(End(BALANCER[family], 1), family=family)
    beyond = asked(End(BALANCER[family], 2), family=family)

    assert node.bench.run("from_uplink", inside.frame(), link=UPLINK).was_redirected
    lost = node.bench.run("from_uplink", beyond.frame(), link=UPLINK)
    assert [reason for _, reason in lost.losses] == [Loss.SOURCE_RANGE]


def test_with_the_policy_local_a_node_without_endpoints_drops(node):
    far = node.add_backend(End(FAR[4], 8080), "tcp")
    flags = OUTSIDE | contract.FRONTEND_LOCAL_OUTSIDE
    node.serve(End(BALANCER[4], 80), "tcp", (far,), outside=(), flags=flags)

    lost = node.bench.run("from_uplink", asked(End(BALANCER[4], 80)).frame(), link=UPLINK)

    assert [reason for _, reason in lost.losses] == [Loss.NO_BACKEND]


@both
def test_a_node_port_without_endpoints_is_refused_by_the_stack_and_counted(node, family):
    node.serve(End(ANYWHERE[family], 30080), "tcp", (), flags=OUTSIDE | contract.FRONTEND_NODE_PORT)
    question = asked(End(NODE[family], 30080), family=family)

    refused = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    assert refused.went_on
    assert refused.frame == question.frame()
    assert [reason for _, reason in refused.losses] == [Loss.NO_BACKEND]


@both
def test_an_error_about_what_was_relayed_reaches_the_client(node, family):
    kind, code = (3, 4) if family == 4 else (2, 0)
    frontend = End(NODE[family], 30080)
    node.offer(FAR[family], End(ANYWHERE[family], 30080))
    question = asked(frontend, family=family)
    relayed = node.bench.run("from_uplink", question.frame(), link=UPLINK).frame[14:]
    router = End(ROUTER[family], 0)

    error = icmp_error(router, End(NODE[family], 0), relayed, kind=kind, code=code)
    went = node.bench.run("from_uplink", error, link=UPLINK)

    source, destination, quoted = read_error(went.frame)
    assert went.was_redirected
    # the VPC takes nobody else's address from this node
    assert (source, destination) == (frontend.host, CLIENT[family])
    assert (quoted.source, quoted.destination) == (question.source, frontend)


@both
@pytest.mark.parametrize("backend", [POD, FAR], ids=["here", "elsewhere"])
def test_an_error_about_an_answer_reaches_the_backend(node, family, backend):
    # given a client behind a link that takes less than the answer's bytes (bug class 32)
    kind, code = (3, 4) if family == 4 else (2, 0)
    frontend = End(BALANCER[family], 80)
    node.offer(backend[family], frontend)
    question = asked(frontend, family=family)
    seen = read_frame(node.bench.run("from_uplink", question.frame(), link=UPLINK).frame)
    answer = question.turned()

    # when a router says so, to whom it knows
    error = icmp_error(
        End(ROUTER[family], 0), End(BALANCER[family], 0), answer.packet(), kind=kind, code=code
    )
    went = node.bench.run("from_uplink", error, link=UPLINK)

    # then the backend learns it, about the packet that it sent
    source, destination, quoted = read_error(went.frame)
    assert went.was_redirected
    assert (source, destination) == ((ROUTER if backend is POD else NODE)[family], backend[family])
    assert (quoted.source, quoted.destination) == (seen.destination, seen.source)


@pytest.mark.parametrize("backend", [POD, FAR], ids=["here", "elsewhere"])
def test_all_fragments_of_a_question_go_the_same_way(node, backend):
    node.offer(backend[4], End(BALANCER[4], 80), UDP)
    whole = replace(asked(End(BALANCER[4], 80), protocol=UDP), payload=bytes(range(64)))
    segment, frame = whole.segment(), whole.frame()
    first, later = (
        frame[:14] + ip_packet(whole.source, whole.destination, UDP, part, fragment=offset)
        for part, offset in ((segment[:32], 0x2000), (segment[32:], 4))
    )

    ends = []
    for piece in (first, later):
        outcome = node.bench.run("from_uplink", piece, link=UPLINK)
        assert outcome.was_redirected
        ends.append(outcome.frame[26:34])

    assert ends[0] == ends[1]
    assert ends[0][4:] == IPv4Address(backend[4]).packed


@pytest.mark.parametrize("flags", [0, contract.SETTING_SERVICES, contract.SETTING_NODE_OUT])
@pytest.mark.parametrize("program", ["from_uplink", "to_uplink"])
def test_switched_off_nothing_is_touched(node, flags, program):
    node.offer(POD[4], End(ANYWHERE[4], 30080))
    node.settle(flags)
    question = asked(End(NODE[4], 30080))

    outcome = node.bench.run(program, question.frame(), link=UPLINK)

    assert outcome.went_on
    assert outcome.frame == question.frame()
    assert node.bench.flows() == {}


@both
def test_what_is_for_no_service_is_the_stacks(node, family):
    for end in (End(NODE[family], 22), End(POD[family], 8080), End(FAR[family], 80)):
        question = asked(end, family=family)

        outcome = node.bench.run("from_uplink", question.frame(), link=UPLINK)

        assert outcome.went_on
        assert outcome.frame == question.frame()
    assert node.bench.flows() == {}


@pytest.mark.parametrize("cut", range(14, 54))
def test_a_packet_that_is_cut_off_is_the_stacks(node, cut):
    node.offer(POD[4], End(BALANCER[4], 80))
    frame = asked(End(BALANCER[4], 80)).frame()[:cut]

    if cut >= 34:  # the kernel's own test run wants a whole IP header
        assert node.bench.run("from_uplink", frame, link=UPLINK).went_on


def test_a_packet_that_has_travelled_too_far_is_not_relayed(node):
    node.offer(FAR[4], End(BALANCER[4], 80))
    question = replace(asked(End(BALANCER[4], 80)), ttl=1)

    lost = node.bench.run("from_uplink", question.frame(), link=UPLINK)

    assert [reason for _, reason in lost.losses] == [Loss.TTL]


@both
@protocols
@pytest.mark.parametrize("backend", [POD, FAR], ids=["here", "elsewhere"])
def test_where_sockets_cannot_be_helped_the_uplink_serves_the_nodes_processes(
    node, family, protocol, backend
):
    # given a process that asks for a service, as its packet leaves by the uplink
    node.settle(FLAGS | contract.SETTING_NODE_OUT)
    service = End("10.96.0.1" if family == 4 else "fd00:96::1", 80)
    number = node.add_backend(End(backend[family], 8080), NAMES[protocol])
    node.serve(service, NAMES[protocol], (number,))
    question = Whole(source=End(NODE[family], 40000), destination=service, protocol=protocol)

    # when it does
    left = node.bench.run("to_uplink", question.frame(), link=UPLINK)

    # then the backend gets it, from the node
    seen = read_frame(left.frame)
    assert left.was_redirected == (backend is POD)
    assert (seen.source, seen.destination) == (question.source, End(backend[family], 8080))

    # and the process gets the service's answer
    hook = ("from_pod", POD_LINK) if backend is POD else ("from_uplink", UPLINK)
    back = node.bench.run(hook[0], seen.turned(ttl=64).frame(), link=hook[1])
    answer = read_frame(back.frame)
    assert back.went_on
    assert (answer.source, answer.destination) == (service, question.source)


@given(
    family=st.sampled_from([4, 6]),
    protocol=st.sampled_from([TCP, UDP]),
    port=st.integers(1, 65535),
    far=st.booleans(),
    payload=st.binary(max_size=64),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whoever_asks_is_answered_by_whom_they_asked(node, family, protocol, port, far, payload):
    frontend = End(BALANCER[family], 80)
    backend = (FAR if far else POD)[family]
    node.offer(backend, frontend, protocol)
    question = replace(
        asked(frontend, family=family, protocol=protocol, port=port), payload=payload
    )

    seen = read_frame(node.bench.run("from_uplink", question.frame(), link=UPLINK).frame)
    hook = ("from_uplink", UPLINK) if far else ("from_pod", POD_LINK)
    reply = seen.turned(ttl=64, payload=payload[::-1])
    answer = read_frame(node.bench.run(hook[0], reply.frame(), link=hook[1]).frame)

    assert seen.destination == End(backend, 8080)
    assert seen.payload == payload
    assert (answer.source, answer.destination) == (frontend, question.source)
    assert answer.payload == payload[::-1]
    node.bench.forget()
