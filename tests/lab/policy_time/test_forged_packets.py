"""What does a packet get that belongs to no connection? It does not pass, and leaves no trace.

Source: the advisory of the AWS network policy agent, in which a forged reply opened a way.
"""

from __future__ import annotations

import struct

import pytest

from tests.support.policy_lab import Crew, PolicyLab
from tests.support.policy_objects import NOBODY, network_policy, peers
from tests.support.wires import (
    ACK,
    RST,
    SYN,
    Wires,
    heard,
    hears,
    icmp_message,
    ip_head,
    tcp_segment,
    try_to_send,
    udp_datagram,
    udp_head,
)

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

PORT, FORGED = 7200, 7201
TCP, ICMP, UDP = 6, 1, 17
WHOLE_PACKETS = 255  # IPPROTO_RAW: the sender writes the header, too
FLAGS = {"syn-ack": SYN | ACK, "ack": ACK, "rst": RST, "rst-ack": RST | ACK}
MARK = b"forged segment"


def isolated(crew: Crew, part: str, direction: str):
    return network_policy(
        f"{part}-{direction}",
        selects=crew.labels(part),
        ingress=NOBODY if direction == "ingress" else None,
        egress=NOBODY if direction == "egress" else None,
    )


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
async def test_a_forged_tcp_segment_does_not_pass(
    world: PolicyLab, crew: Crew, wires: Wires, flags: int, direction: str
):
    part = "server" if direction == "ingress" else "client"
    await world.policies(isolated(crew, part, direction))
    ear, mouth = await wires.raw(crew.server, TCP), await wires.raw(crew.client, TCP)

    for payload in (MARK, b""):
        segment = tcp_segment(
            crew.client, crew.server, (FORGED, PORT), flags=flags, payload=payload
        )
        try_to_send(mouth, segment, crew.server)
    await wires.fence(crew.client, crew.server)

    ports = struct.pack("!HH", FORGED, PORT)
    assert [one for one in heard(ear) if ports in one[:24]] == []


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
async def test_a_forged_tcp_segment_makes_no_connection_that_others_pass_by(
    world: PolicyLab, crew: Crew, wires: Wires, flags: int
):
    """The pod forges an answer to somebody who never asked: his packets stay out all the same."""
    await world.policies(isolated(crew, "server", "ingress"))
    forge = await wires.raw(crew.server, TCP)
    ear, mouth = await wires.raw(crew.server, TCP), await wires.raw(crew.client, TCP)

    reply = tcp_segment(crew.server, crew.client, (PORT, FORGED), flags=flags, payload=b"")
    try_to_send(forge, reply, crew.client)
    await wires.fence(crew.server, crew.client)
    for kind in (SYN, ACK):
        segment = tcp_segment(crew.client, crew.server, (FORGED, PORT), flags=kind, payload=MARK)
        try_to_send(mouth, segment, crew.server)
    await wires.fence(crew.client, crew.server)

    assert [one for one in heard(ear) if MARK in one] == []


async def test_a_pod_that_sends_with_anothers_address_is_not_taken_for_it(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Of policies alone it would be let in: its packets must never come so far."""
    rule = peers("from", ("UDP", PORT), pods=crew.labels("near"))
    await world.policies(network_policy("server", selects=crew.labels("server"), ingress=[rule]))
    server, whole = await wires.udp(crew.server, PORT), await wires.raw(crew.client, WHOLE_PACKETS)

    for source in (crew.near, crew.other):
        datagram = udp_datagram(source, crew.server, (FORGED, PORT), MARK)
        head = ip_head(source, crew.server, UDP, len(datagram))
        try_to_send(whole, head + datagram, crew.server)
    await wires.fence(crew.client, crew.server)
    assert heard(server) == []

    near = await wires.udp(crew.near)
    near.sendto(MARK, (str(crew.server.address), PORT))
    await hears(server, MARK)


async def test_a_forged_icmp_error_does_not_pass_and_an_error_of_a_connection_does(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Bug class 32: the errors of a connection are part of it; without them large packets die."""
    out = peers("to", ("UDP", PORT), pods=crew.labels("server"))
    await world.policies(
        network_policy("both", selects=crew.labels("client"), ingress=NOBODY, egress=[out])
    )
    server, client = await wires.udp(crew.server, PORT), await wires.udp(crew.client)
    client.sendto(b"question", (str(crew.server.address), PORT))
    await hears(server, b"question")
    ear, mouth = await wires.raw(crew.client, ICMP), await wires.raw(crew.server, ICMP)

    own = client.getsockname()[1]
    for port in (own, FORGED):
        quoted = ip_head(crew.client, crew.server, UDP, 108) + udp_head((port, PORT), 100)
        error = too_big(crew, quoted + bytes(100))
        try_to_send(mouth, error, crew.client)
    await wires.fence(crew.server, crew.client)

    found = [one for one in heard(ear) if udp_head((own, PORT), 100) in one]
    forged = [one for one in heard(ear) if udp_head((FORGED, PORT), 100) in one]
    assert (len(found), forged) == (1, [])


def too_big(crew: Crew, quoted: bytes) -> bytes:
    kind = (3, 4) if crew.server.address.version == 4 else (2, 0)
    return icmp_message(crew.server, crew.client, kind, 1300, quoted)
