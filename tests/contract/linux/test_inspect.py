"""What a tool reads of a namespace is what iproute2 shows there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from terway.cli.fib import decide
from terway.linux.inspect import look_up, read_seen
from terway.linux.session import open_session
from terway.model.network import Netns
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

SETUP = """
ip link add d1 type veth peer name p1
ip link set p1 up; ip link set d1 up
ip address add 10.9.0.1/24 dev d1
ip link add d2 type veth peer name p2
ip link set p2 up; ip link set d2 up
ip address add 10.9.1.1/24 dev d2
ip route add default via 10.9.0.254
ip route add default via 10.9.1.254 dev d2 table 1003
ip route add blackhole 10.66.0.0/16
ip rule add from 10.9.0.7 priority 2048 lookup 1003
ip neighbour add 10.9.0.254 lladdr 02:00:00:00:00:01 dev d1 nud permanent
echo 1 > /proc/sys/net/ipv4/ip_forward
"""


@pytest.fixture
def scratch() -> Iterator[ScratchNetns]:
    with scratch_netns("inspect") as made:
        made.run(SETUP)
        yield made


def test_routes_of_every_kind_and_neighbours_are_read(scratch: ScratchNetns) -> None:
    with open_session() as session:
        seen = read_seen(session, Netns(scratch.path))

    kinds = {(one.kind, one.destination, one.table) for one in seen.routes}
    assert ("blackhole", ip_network("10.66.0.0/16"), 254) in kinds
    assert ("local", ip_network("10.9.0.1/32"), 255) in kinds
    assert ("unicast", ip_network("0.0.0.0/0"), 1003) in kinds
    (gateway,) = [one for one in seen.neighbours if one.address == ip_address("10.9.0.254")]
    assert (gateway.state, gateway.mac, gateway.link) == ("permanent", "02:00:00:00:00:01", "d1")


@pytest.mark.parametrize(
    ("destination", "source"),
    [
        ("10.9.0.55", None),
        ("198.51.100.1", None),
        ("10.9.0.1", None),
        ("198.51.100.1", "10.9.0.7"),
        ("198.51.100.1", "10.9.0.8"),
    ],
)
def test_our_decision_is_the_kernels(
    scratch: ScratchNetns, destination: str, source: str | None
) -> None:
    to, own = ip_address(destination), None if source is None else ip_address(source)
    iif = "d1" if own is not None else ""
    with open_session() as session:
        netns = Netns(scratch.path)
        asked = look_up(session, to, source=own, iif=iif, netns=netns)
        ours = decide(read_seen(session, netns), to, source=own, iif=iif)

    assert asked.route is not None, asked.refusal
    assert ours.route is not None
    assert (asked.route.kind, asked.route.table) == (ours.route.kind, ours.route.table)
    if asked.route.kind == "unicast":  # what is the host's own is on lo, by the kernel's word
        there = asked.route.link, asked.route.gateway
        assert there == (ours.route.link, ours.route.gateway)


def test_the_kernels_refusal_is_an_answer(scratch: ScratchNetns) -> None:
    with open_session() as session:
        asked = look_up(session, ip_address("10.66.1.1"), netns=Netns(scratch.path))

    assert asked.route is None
    assert asked.refusal
