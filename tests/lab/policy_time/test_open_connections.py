"""What becomes of a connection when a policy changes under it? Judged anew, packet by packet."""

from __future__ import annotations

import socket

import pytest

from tests.support.policy_lab import Crew, PolicyLab
from tests.support.policy_objects import Object, network_policy, peers
from tests.support.streams import lockstep, spray
from tests.support.wires import Wires, heard, hears, try_to_send

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

PORT, BARRED = 7100, 7101
ROUNDS = 5


def into_server(name: str, crew: Crew, *rules: Object) -> Object:
    return network_policy(name, selects=crew.labels("server"), ingress=rules)


def out_of_client(crew: Crew, *rules: Object) -> Object:
    return network_policy("client", selects=crew.labels("client"), egress=rules)


def from_client(crew: Crew) -> Object:
    return peers("from", ("TCP", PORT), ("UDP", PORT), pods=crew.labels("client"))


async def test_an_open_tcp_connection_is_cut_when_its_permission_ends(
    world: PolicyLab, crew: Crew, wires: Wires
):
    await world.policies(into_server("server", crew, from_client(crew)))
    client, served = await talking(crew, wires)

    await world.policies(into_server("server", crew))
    client.send(b"after")
    served.send(b"after")
    await wires.fence(crew.client, crew.server)
    await wires.fence(crew.server, crew.client)

    assert (heard(served), heard(client)) == ([], [])


@pytest.mark.parametrize("shut", ["into the server", "out of the client"])
async def test_the_first_policy_there_is_cuts_a_connection_that_it_does_not_allow(
    world: PolicyLab, crew: Crew, wires: Wires, shut: str
):
    client, served = await talking(crew, wires)

    await world.policies(
        into_server("server", crew) if shut == "into the server" else out_of_client(crew)
    )
    client.send(b"after")
    served.send(b"after")
    await wires.fence(crew.client, crew.server)
    await wires.fence(crew.server, crew.client)

    assert (heard(served), heard(client)) == ([], [])


async def test_the_first_policies_there_are_leave_a_connection_that_they_allow_alone(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """Each end may open nothing, and be opened nothing, but this."""
    client, served = await talking(crew, wires)
    to_server = peers("to", ("TCP", PORT), pods=crew.labels("server"))
    shut_in = network_policy("shut-in", selects=crew.labels("client"), ingress=())
    shut_out = network_policy("shut-out", selects=crew.labels("server"), egress=())

    served.send(b"before")  # the first packet that the rules see is an answer
    await hears(client, b"before")
    await world.policies(
        into_server("server", crew, from_client(crew)),
        out_of_client(crew, to_server),
        shut_in,
        shut_out,
    )

    served.send(b"answer")
    await hears(client, b"answer")
    client.send(b"after")
    await hears(served, b"after")


async def talking(crew: Crew, wires: Wires) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection of client and server that is in use."""
    listener = await wires.tcp_listener(crew.server, PORT)
    client = await wires.connect(crew.client, crew.server, PORT)
    served = await wires.accept(listener)
    client.send(b"before")
    await hears(served, b"before")
    return client, served


async def test_a_udp_flow_is_cut_in_both_directions_when_its_permission_ends(
    world: PolicyLab, crew: Crew, wires: Wires
):
    await world.policies(into_server("server", crew, from_client(crew)))
    server, client = await wires.udp(crew.server, PORT), await wires.udp(crew.client)
    back = client.getsockname()[:2]
    client.sendto(b"question", (str(crew.server.address), PORT))
    await hears(server, b"question")
    server.sendto(b"answer", back)
    await hears(client, b"answer")

    await world.policies(into_server("server", crew))
    try_to_send(client, b"question", crew.server, PORT)
    try_to_send(server, b"answer", crew.client, back[1])
    await wires.fence(crew.client, crew.server)
    await wires.fence(crew.server, crew.client)

    assert (heard(server), heard(client)) == ([], [])


async def test_a_connection_that_stays_allowed_loses_no_packet_while_policies_change(
    world: PolicyLab, crew: Crew, wires: Wires
):
    server, client = await wires.udp(crew.server, PORT), await wires.udp(crew.client)
    allowing = into_server("server", crew, from_client(crew))
    wider = into_server("server", crew, from_client(crew), peers("from", pods={"app": "near"}))
    more = into_server("more", crew, peers("from", ("TCP", 80), pods={"app": "near"}))
    await world.policies(allowing)

    async with lockstep(client, server, (crew.server.address, PORT)) as flow:
        for _ in range(ROUNDS):
            for wanted in ((wider,), (wider, more), (allowing, more), (allowing,), ()):
                await world.policies(*wanted)
                await flow.advance()


async def test_a_change_of_policies_never_passes_through_all_open_or_all_shut(
    world: PolicyLab, crew: Crew, wires: Wires
):
    """A to A and B to B: what both allow is never lost, what none allows never arrives."""
    server, client = await wires.udp(crew.server, PORT), await wires.udp(crew.client)
    barred, sprayer = await wires.udp(crew.server, BARRED), await wires.udp(crew.client)
    one = into_server("one", crew, from_client(crew))
    two = into_server("two", crew, peers("from", ("UDP", PORT)))
    await world.policies(one)

    async with (
        lockstep(client, server, (crew.server.address, PORT)) as flow,
        spray(sprayer, (crew.server.address, BARRED)),
    ):
        for _ in range(ROUNDS):
            for wanted in ((one, two), (two,), (two, one), (one,)):
                await world.policies(*wanted)
                await flow.advance()

    await wires.fence(crew.client, crew.server)
    assert heard(barred) == []


async def test_a_peer_that_loses_its_label_is_cut_off_with_its_open_connection(
    world: PolicyLab, crew: Crew, wires: Wires
):
    trusted = {"pool": crew.pool, "trusted": "yes"}
    await world.relabel(crew.pods["client"], {"trusted": "yes"})
    await world.policies(into_server("server", crew, peers("from", ("TCP", PORT), pods=trusted)))
    listener = await wires.tcp_listener(crew.server, PORT)
    client = await wires.connect(crew.client, crew.server, PORT)
    served = await wires.accept(listener)

    await world.relabel(crew.pods["client"], {"trusted": None})
    client.send(b"after")
    await wires.fence(crew.client, crew.server)

    assert heard(served) == []
