"""What pods ask of services goes to a backend, and comes back as from the service: by packets."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.linux.ebpf import contract
from terway.linux.ebpf.entries import pack_number
from terway.linux.ebpf.losses import Loss
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.choice_oracle import crc32c, hash_of, highest, of_table
from tests.support.datapath_program import DataPathBench, Outcome, open_datapath_program
from tests.support.frames import extension, fragment_header, ipv4, ipv6
from tests.support.service_tables import End, ServiceTables
from tests.support.whole_packets import (
    ACK,
    FIN,
    RST,
    SYN,
    TCP,
    UDP,
    Whole,
    icmp_error,
    ip_packet,
    read_error,
    read_frame,
)

pytestmark = pytest.mark.root

SCTP = 132
CLIENT = {4: "192.168.32.1", 6: "fd00:32::1"}
SERVER = {4: "192.168.32.2", 6: "fd00:32::2"}
SERVICE = {4: "172.16.0.1", 6: "fc00::1"}
OTHER_SERVICE = {4: "172.16.0.2", 6: "fc00::2"}
ROUTER = {4: "192.168.63.253", 6: "fd00:32::fffd"}
NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def endpoint(number: int, addresses: dict[int, str]) -> Endpoint:
    return Endpoint(
        number=EndpointNumber(number),
        kind=EndpointKind.VETH,
        addresses=IPPair(v4=IPv4Address(addresses[4]), v6=IPv6Address(addresses[6])),
        gateways=IPPair(v4=IPv4Address(ROUTER[4]), v6=IPv6Address(ROUTER[6])),
        eni=4,
        pod_mac=MacAddress(f"02:00:00:00:00:0{number}"),
        link_mac=MacAddress(f"02:00:00:00:01:0{number}"),
        mtu_bytes=1500,
    )


class Services(ServiceTables):
    """A node with two pods: one asks, one answers."""

    def __init__(self, bench: DataPathBench) -> None:
        super().__init__(bench.maps)
        self.bench = bench
        bench.put_endpoint(endpoint(1, CLIENT), link=1)
        bench.put_endpoint(endpoint(2, SERVER), link=2)
        bench.set(flags=contract.SETTING_SERVICES)

    def offer(self, family: int, protocol: int = TCP, *, host: str = "", **given: Any) -> int:
        """Offer one backend, port 8080 of the other pod unless `host` says otherwise."""
        backend = self.add_backend(End(host or SERVER[family], 8080), NAMES[protocol])
        self.serve(End(SERVICE[family], 80), NAMES[protocol], (backend,), **given)
        return backend

    def mark(self, backend: int, end: End, protocol: str, flags: int) -> None:
        """Have a backend that is there have flags."""
        value = end.key(protocol) + pack_number(flags)
        self.bench.maps["backends"].update(pack_number(backend), value)

    def send(self, packet: Whole, *, link: int = 1) -> Outcome:
        return self.bench.run("from_pod", packet.frame(), link=link)


@pytest.fixture(scope="module")
def loaded() -> Iterator[DataPathBench]:
    with open_datapath_program() as bench:
        yield bench


@pytest.fixture
def node(loaded: DataPathBench) -> Services:
    return fresh(loaded)


def fresh(loaded: DataPathBench) -> Services:
    loaded.forget()
    for name in ("frontends", "sets", "backends", "source_ranges"):
        loaded.forget(name)
    return Services(loaded)


def ask(family: int, protocol: int = TCP, *, port: int = 40000, **more: object) -> Whole:
    """A packet of the client to the service."""
    return Whole(
        source=End(CLIENT[family], port),
        destination=End(SERVICE[family], 80),
        protocol=protocol,
        **more,  # type: ignore[arg-type]
    )


def got(outcome: Outcome) -> Whole:
    assert outcome.losses == ()
    return read_frame(outcome.frame)


def lost(outcome: Outcome) -> Loss:
    ((_, reason),) = outcome.losses
    return reason


@FAMILIES
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_service_is_answered_as_if_it_were_one_host(node, family, protocol):
    node.offer(family, protocol)

    there = got(node.send(ask(family, protocol)))

    assert (there.source, there.destination) == (
        End(CLIENT[family], 40000),
        End(SERVER[family], 8080),
    )
    back = got(node.send(there.turned(), link=2))
    assert (back.source, back.destination) == (End(SERVICE[family], 80), End(CLIENT[family], 40000))


@FAMILIES
def test_a_pod_reaches_itself_by_its_service(node, family):
    """Bug class 44."""
    node.offer(family, host=CLIENT[family])

    there = got(node.send(ask(family)))

    assert (there.source, there.destination) == (
        End(SERVICE[family], 40000),
        End(CLIENT[family], 8080),
    )
    back = got(node.send(there.turned()))
    assert (back.source, back.destination) == (End(SERVICE[family], 80), End(CLIENT[family], 40000))


def test_udp_without_a_checksum_stays_without(node):
    node.offer(4, UDP)
    body = struct.pack("!HHHH", 40000, 80, 13, 0) + b"hello"
    packet = ip_packet(End(CLIENT[4], 0), End(SERVICE[4], 0), UDP, body)

    frame = node.bench.run("from_pod", bytes(12) + b"\x08\x00" + packet, link=1).frame

    assert frame[14 + 20 :] == struct.pack("!HHHH", 40000, 8080, 13, 0) + b"hello"


@FAMILIES
@pytest.mark.parametrize("length", [0, 4, 20, 1000])
def test_the_checksum_of_sctp_follows_its_ports(node, family, length):
    node.offer(family, SCTP)

    segment = ask_sctp(node, family, bytes(range(256)) * 4, length)

    assert struct.unpack("!HH", segment[:4]) == (40000, 8080)
    assert int.from_bytes(segment[8:12], "little") == crc32c(segment[:8] + bytes(4) + segment[12:])


def ask_sctp(node: Services, family: int, payload: bytes, length: int) -> bytes:
    segment = sctp(40000, 80, payload[:length])
    packet = ip_packet(End(CLIENT[family], 0), End(SERVICE[family], 0), SCTP, segment)
    kind = b"\x08\x00" if family == 4 else b"\x86\xdd"
    outcome = node.bench.run("from_pod", bytes(12) + kind + packet, link=1)
    assert outcome.losses == ()
    return outcome.frame[14 + (20 if family == 4 else 40) :]


def sctp(source: int, destination: int, payload: bytes) -> bytes:
    head = struct.pack("!HHI", source, destination, 7)
    total = crc32c(head + bytes(4) + payload)
    return head + total.to_bytes(4, "little") + payload


def test_a_checksum_of_sctp_that_is_left_to_the_device_stays_zero(node):
    node.offer(4, SCTP)
    segment = struct.pack("!HHII", 40000, 80, 7, 0)
    packet = ip_packet(End(CLIENT[4], 0), End(SERVICE[4], 0), SCTP, segment)

    frame = node.bench.run("from_pod", bytes(12) + b"\x08\x00" + packet, link=1).frame

    assert frame[34:] == struct.pack("!HHII", 40000, 8080, 7, 0)


def test_options_of_ipv4_and_extensions_of_ipv6_are_no_obstacle(node):
    node.offer(4, UDP)
    node.offer(6, UDP)
    source, destination = IPv4Address(CLIENT[4]), IPv4Address(SERVICE[4])
    with_options = ipv4(source, destination, UDP, ask(4, UDP).segment(), options=bytes(8))
    body = extension(60) + extension(UDP) + ask(6, UDP).segment()
    with_extensions = ipv6(IPv6Address(CLIENT[6]), IPv6Address(SERVICE[6]), 0, body)

    four = node.bench.run("from_pod", bytes(12) + b"\x08\x00" + with_options, link=1).frame[14:]
    six = node.bench.run("from_pod", bytes(12) + b"\x86\xdd" + with_extensions, link=1).frame[14:]

    there = replace(ask(4, UDP), destination=End(SERVER[4], 8080)).segment()
    assert (four[16:20], four[28:]) == (ip_address(SERVER[4]).packed, there)
    there = replace(ask(6, UDP), destination=End(SERVER[6], 8080)).segment()
    assert (six[24:40], six[56:]) == (ip_address(SERVER[6]).packed, there)


def test_fragments_of_ipv4_follow_their_first_one(node):
    node.offer(4, UDP)
    whole = ask(4, UDP, payload=bytes(range(64)))
    parts = whole.segment()[:40], whole.segment()[40:]
    fragments = [
        ip_packet(whole.source, whole.destination, UDP, part, fragment=field)
        for part, field in zip(parts, (0x2000, 5), strict=True)
    ]

    frames = [node.bench.run("from_pod", bytes(12) + b"\x08\x00" + one).frame for one in fragments]

    joined = b"".join(frame[34:] for frame in frames)
    there = replace(whole, destination=End(SERVER[4], 8080))
    assert joined == there.segment()
    assert {frame[30:34] for frame in frames} == {ip_address(SERVER[4]).packed}


def test_fragments_of_ipv6_follow_their_first_one(node):
    node.offer(6, UDP)
    whole = ask(6, UDP, payload=bytes(range(64)))
    parts = (whole.segment()[:40], 0, True), (whole.segment()[40:], 40, False)
    ends = IPv6Address(CLIENT[6]), IPv6Address(SERVICE[6])
    fragments = [
        ipv6(ends[0], ends[1], 44, fragment_header(UDP, at, more=more) + part)
        for part, at, more in parts
    ]

    frames = [node.bench.run("from_pod", bytes(12) + b"\x86\xdd" + one).frame for one in fragments]

    joined = b"".join(frame[62:] for frame in frames)
    assert joined == replace(whole, destination=End(SERVER[6], 8080)).segment()


@FAMILIES
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_an_error_about_a_question_quotes_what_the_client_asked(node, family, protocol):
    node.offer(family, protocol)
    there = got(node.send(ask(family, protocol)))
    backend = End(SERVER[family], 0)
    error = icmp_error(
        backend, End(CLIENT[family], 0), there.packet(), kind=3 if family == 4 else 1
    )

    outcome = node.bench.run("from_pod", error, link=2)

    assert outcome.losses == ()
    source, destination, quoted = read_error(outcome.frame)
    assert (source, destination) == (SERVICE[family], CLIENT[family])
    assert (quoted.source, quoted.destination) == (
        End(CLIENT[family], 40000),
        End(SERVICE[family], 80),
    )


@FAMILIES
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_an_error_about_an_answer_goes_to_the_backend(node, family, protocol):
    node.offer(family, protocol)
    there = got(node.send(ask(family, protocol)))
    back = got(node.send(there.turned(), link=2))
    ends = End(CLIENT[family], 0), End(SERVICE[family], 0)
    error = icmp_error(*ends, back.packet(), kind=3 if family == 4 else 1)

    outcome = node.bench.run("from_pod", error, link=1)

    assert outcome.losses == ()
    source, destination, quoted = read_error(outcome.frame)
    assert (source, destination) == (CLIENT[family], SERVER[family])
    assert (quoted.source, quoted.destination) == (
        End(SERVER[family], 8080),
        End(CLIENT[family], 40000),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    family=st.sampled_from([4, 6]),
    protocol=st.sampled_from([TCP, UDP]),
    port=st.integers(1, 65535),
    count=st.integers(1, 16),
)
def test_the_choice_is_that_of_the_highest_hash(loaded, family, protocol, port, count):
    node = fresh(loaded)
    hosts = [f"10.9.0.{n}" if family == 4 else f"fd09::{n}" for n in range(1, count + 1)]
    numbers = {node.add_backend(End(host, 8080), NAMES[protocol]): host for host in hosts}
    node.serve(End(SERVICE[family], 80), NAMES[protocol], tuple(numbers))
    packet = ask(family, protocol, port=port)

    there = got(node.send(packet))

    expected = highest(list(numbers), hash_of(packet.source, packet.destination, protocol))
    assert there.destination == End(numbers[expected], 8080)


@FAMILIES
def test_tcp_is_told_when_its_backend_has_gone(node, family):
    backend = node.offer(family)
    node.send(ask(family))
    node.remove_backend(backend)

    outcome = node.send(ask(family, flags=ACK))

    assert lost(outcome) is Loss.BACKEND_GONE


@FAMILIES
@pytest.mark.parametrize("flags", [0, contract.BACKEND_TERMINATING])
def test_udp_goes_to_another_backend_as_soon_as_its_own_goes(node, family, flags):
    """Bug class 39: no client is led to where nobody is."""
    old = node.offer(family, UDP)
    assert got(node.send(ask(family, UDP))).destination.host == SERVER[family]
    other = "10.9.0.9" if family == 4 else "fd09::9"
    new = node.add_backend(End(other, 8080), "udp")
    node.serve(End(SERVICE[family], 80), "udp", (new,))
    if flags:
        node.mark(old, End(SERVER[family], 8080), "udp", flags)
    else:
        node.remove_backend(old)

    assert got(node.send(ask(family, UDP))).destination == End(other, 8080)


@FAMILIES
def test_tcp_goes_on_with_a_backend_that_terminates(node, family):
    backend = node.offer(family)
    node.send(ask(family))
    other = "10.9.0.9" if family == 4 else "fd09::9"
    new = node.add_backend(End(other, 8080), "tcp")
    node.serve(End(SERVICE[family], 80), "tcp", (new,))
    node.mark(backend, End(SERVER[family], 8080), "tcp", contract.BACKEND_TERMINATING)

    old = got(node.send(ask(family, flags=ACK)))
    begun = got(node.send(ask(family, flags=SYN)))

    assert (old.destination.host, begun.destination.host) == (SERVER[family], other)


@FAMILIES
def test_a_syn_is_sent_again_to_the_same_and_after_the_end_to_whoever_is_chosen(node, family):
    """Bug class 41: a client that uses its port again is not bound to who had it."""
    node.offer(family)
    node.send(ask(family))
    other = "10.9.0.9" if family == 4 else "fd09::9"
    new = node.add_backend(End(other, 8080), "tcp")
    node.serve(End(SERVICE[family], 80), "tcp", (new,))

    again = got(node.send(ask(family)))
    node.send(ask(family, flags=RST))
    after = got(node.send(ask(family)))

    assert (again.destination.host, after.destination.host) == (SERVER[family], other)


@FAMILIES
def test_two_services_with_one_backend_and_one_port_of_the_client_do_not_mix(node, family):
    backend = node.offer(family)
    node.serve(End(OTHER_SERVICE[family], 80), "tcp", (backend,))
    second = replace(ask(family), destination=End(OTHER_SERVICE[family], 80))

    one, two = got(node.send(ask(family))), got(node.send(second))

    assert one.destination == two.destination
    assert one.source != two.source
    back = got(node.send(two.turned(), link=2))
    assert (back.source, back.destination) == (End(OTHER_SERVICE[family], 80), second.source)
    assert got(node.send(one.turned(), link=2)).source == End(SERVICE[family], 80)


@FAMILIES
def test_a_client_with_affinity_keeps_its_backend(node, family):
    hosts = [f"10.9.0.{n}" if family == 4 else f"fd09::{n}" for n in range(1, 9)]
    backends = tuple(node.add_backend(End(host, 8080), "tcp") for host in hosts)
    flags = contract.FRONTEND_AFFINITY
    node.serve(End(SERVICE[family], 80), "tcp", backends, flags=flags, affinity_s=60)

    seen = {got(node.send(ask(family, port=port))).destination for port in range(40000, 40016)}

    assert len(seen) == 1


@FAMILIES
def test_nobody_behind_a_service_is_a_reason_of_its_own(node, family):
    node.serve(End(SERVICE[family], 80), "tcp", ())

    assert lost(node.send(ask(family))) is Loss.NO_BACKEND


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    family=st.sampled_from([4, 6]),
    protocol=st.sampled_from([TCP, UDP]),
    port=st.integers(1, 65535),
    payload=st.binary(max_size=200),
    flags=st.sampled_from([SYN, ACK, SYN | ACK, FIN | ACK]),
)
def test_every_translation_keeps_every_checksum_and_every_other_byte(
    loaded, family, protocol, port, payload, flags
):
    node = fresh(loaded)
    node.offer(family, protocol)
    packet = ask(family, protocol, port=port, payload=payload, flags=flags)

    there = got(node.send(packet))

    assert replace(there, ttl=packet.ttl, macs=packet.macs, flags=flags) == replace(
        packet, destination=End(SERVER[family], 8080)
    )


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(family=st.sampled_from([4, 6]), cut=st.integers(0, 60), spoilt=st.integers(0, 59))
def test_a_spoilt_packet_goes_nowhere_or_where_it_may(loaded, family, cut, spoilt):
    node = fresh(loaded)
    node.offer(family)
    frame = bytearray(ask(family).frame())
    frame[14 + spoilt % (len(frame) - 14)] ^= 0xFF
    frame = frame[: max(len(frame) - cut, 54)]

    outcome = node.bench.run("from_pod", bytes(frame), link=1)

    assert outcome.went_on or outcome.was_redirected or len(outcome.losses) == 1


@FAMILIES
def test_a_client_of_nobody_is_reset_at_once(node, family):
    node.serve(End(SERVICE[family], 80), "tcp", ())
    packet = ask(family, payload=b"")

    outcome = node.send(packet)

    assert outcome.was_redirected
    assert outcome.losses == ((1, Loss.NO_BACKEND),)
    reset = read_frame(outcome.frame)
    assert (reset.source, reset.destination) == (packet.destination, packet.source)
    assert (reset.flags, reset.payload) == (RST | ACK, b"")
    assert reset.macs == packet.macs[6:] + packet.macs[:6]
    assert sequence_of(outcome.frame) == (0, 2)  # what was sent begins at 1, and SYN counts


@FAMILIES
def test_a_connection_whose_backend_has_gone_is_reset_where_it_stands(node, family):
    backend = node.offer(family)
    node.send(ask(family))
    node.remove_backend(backend)

    outcome = node.send(ask(family, flags=ACK, payload=b"some data"))

    assert outcome.was_redirected
    reset = read_frame(outcome.frame)
    assert (reset.flags, reset.payload) == (RST, b"")
    assert sequence_of(outcome.frame) == (0, 0)  # what the client has acknowledged


@FAMILIES
def test_a_client_of_nobody_by_udp_is_told_that_the_port_is_unreachable(node, family):
    node.serve(End(SERVICE[family], 80), "udp", ())
    packet = ask(family, UDP, payload=b"")

    outcome = node.send(packet)

    assert outcome.was_redirected
    source, destination, quoted = read_error(outcome.frame)
    assert (source, destination) == (SERVICE[family], CLIENT[family])
    assert (quoted.source, quoted.destination) == (packet.source, packet.destination)


def test_a_reset_is_not_answered_by_another(node):
    node.serve(End(SERVICE[4], 80), "tcp", ())

    outcome = node.send(ask(4, flags=RST))

    assert not outcome.was_redirected
    assert lost(outcome) is Loss.NO_BACKEND


def sequence_of(frame: bytes) -> tuple[int, int]:
    """Return sequence and acknowledgment of TCP behind a plain IP header."""
    start = 34 if frame[14] >> 4 == 4 else 54
    sequence, acknowledgment = struct.unpack("!II", frame[start + 4 : start + 12])
    return sequence, acknowledgment


@FAMILIES
def test_who_is_not_within_the_source_ranges_is_refused(node, family):
    node.offer(family, flags=contract.FRONTEND_SOURCE_RANGES)
    first = lost(node.send(ask(family)))
    node.allow("192.168.32.0/24" if family == 4 else "fd00:32::/64")

    assert first is Loss.SOURCE_RANGE
    assert got(node.send(ask(family))).destination == End(SERVER[family], 8080)


@FAMILIES
def test_a_pod_reaches_a_node_port_at_any_address_of_its_node_and_at_no_other(node, family):
    own, other = ("192.168.0.10", "192.168.0.11") if family == 4 else ("fd00::10", "fd00::11")
    anywhere = "0.0.0.0" if family == 4 else "::"
    node.bench.put_node_address(ip_address(own))
    backend = node.add_backend(End(SERVER[family], 8080), "tcp")
    node.serve(End(anywhere, 30080), "tcp", (backend,), flags=contract.FRONTEND_NODE_PORT)

    here = got(node.send(replace(ask(family), destination=End(own, 30080))))
    there = got(node.send(replace(ask(family), destination=End(other, 30080))))

    assert here.destination == End(SERVER[family], 8080)
    assert there.destination == End(other, 30080)


@FAMILIES
def test_a_large_set_is_chosen_from_by_its_table(node, family):
    hosts = [f"10.9.0.{n}" if family == 4 else f"fd09::{n}" for n in range(1, 41)]
    numbers = tuple(node.add_backend(End(host, 8080), "tcp") for host in hosts)
    node.serve(End(SERVICE[family], 80), "tcp", numbers)
    slots = dict(enumerate(numbers))

    for port in range(40000, 40020):
        packet = ask(family, port=port)
        expected = of_table(slots, 0, 40, hash_of(packet.source, packet.destination, TCP))
        assert got(node.send(packet)).destination.host == hosts[numbers.index(expected)]


def test_sctp_in_fragments_is_lost_because_nobody_knows_its_length(node):
    node.offer(4, SCTP)
    segment = sctp(40000, 80, bytes(40))
    packet = ip_packet(End(CLIENT[4], 0), End(SERVICE[4], 0), SCTP, segment, fragment=0x2000)

    assert lost(node.bench.run("from_pod", bytes(12) + b"\x08\x00" + packet)) is Loss.FRAGMENT
