"""While a table of policies is changed, and made anew, packets go on: none is lost, none slips by.

Bug class 46. Packets go in at a rate at which some are always in the midst of the rules.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from terway.agent.policy.nft_place import NftPlace
from terway.linux.grace import wait_for_packets
from terway.linux.netns import entered, open_netns
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import Change, ClassId, Compiled, RuleSet, RuleSetId, Sides
from terway.policy.nft.skeleton import FlowLog, Options
from terway.policy.policies import Direction
from terway.policy.ports import NOTHING, ports_of
from tests.support.iproute import ip_here
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.wires import on_one_core

pytestmark = pytest.mark.root

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
ALLOWED, BARRED = 7000, 7001
POD = PodKey(namespace="default", name="server")
HOOKS = {POD: "eth0"}
CHANGES = 60
LAST = b"last"
ASKED_AGAIN_S = 1.0  # the last one may be dropped, too
TRIES = 30
_SO_RCVBUFFORCE = 33


def compiled(number: int) -> Compiled:
    """Return the same wish, of another rule set."""
    allowed = ports_of(Protocol.UDP, ALLOWED, ALLOWED)
    rule_set = RuleSet(direction=Direction.INGRESS, default=NOTHING, verdicts={ClassId(1): allowed})
    return Compiled(
        hosts={ip_address(CLIENT): ClassId(1)},
        rule_sets={RuleSetId(number): rule_set},
        sides={POD: Sides(ingress=RuleSetId(number))},
    )


def adopt(place: NftPlace, number: int) -> None:
    place.adopt(compiled(number), HOOKS)


def change(place: NftPlace, number: int) -> None:
    wish = compiled(number)
    gone = {RuleSetId(number - 1): None}
    place.change(Change(rule_sets={**wish.rule_sets, **gone}, sides=wish.sides), HOOKS)


def tidy(place: NftPlace) -> None:
    if place.set_aside():
        wait_for_packets()
        place.clear_away()


def chains(place: NftPlace) -> int:
    table = place.read()
    assert table is not None
    return len(table.chains)


@contextmanager
def two_ends() -> Iterator[tuple[ScratchNetns, ScratchNetns]]:
    with scratch_netns("client") as client, scratch_netns("server") as server:
        client.run(
            f"ip link add eth0 type veth peer name eth0 netns {server.path}"
            f"; ip address add {CLIENT}/24 dev eth0; ip link set eth0 up"
        )
        server.run(f"ip address add {SERVER}/24 dev eth0; ip link set eth0 up")
        assert client.pings(SERVER)  # few packets have room to wait for a neighbour
        yield client, server


def udp(netns: ScratchNetns, address: str, port: int = 0) -> socket.socket:
    with open_netns(netns.path) as opened, entered(opened.fd):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 28)
    made.bind((address, port))
    made.setblocking(False)
    return made


@contextmanager
def load(client: ScratchNetns) -> Iterator[list[int]]:
    """Keep sending to both ports for the block; afterwards the list has how often."""
    sent: list[int] = []
    ended = threading.Event()

    def send() -> None:
        count = 0
        with on_one_core(), udp(client, CLIENT) as allowed, udp(client, CLIENT) as barred:
            allowed.setblocking(True)
            barred.setblocking(True)
            while not ended.is_set():
                allowed.sendto(b"allowed", (SERVER, ALLOWED))
                barred.sendto(b"barred", (SERVER, BARRED))
                count += 1
        sent.append(count)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        ended.set()
        sender.join()


def arrived(receiver: socket.socket) -> int:
    count = 0
    while True:
        try:
            data = receiver.recv(16)
        except BlockingIOError:
            return count
        count += data != LAST


def settle(client: ScratchNetns, receiver: socket.socket) -> int:
    """Return how much more arrives: a core takes in in order, and perhaps after all was sent."""
    count = 0
    with on_one_core(), udp(client, CLIENT) as sender:
        for _ in range(TRIES):
            sender.sendto(LAST, (SERVER, ALLOWED))
            while select.select([receiver], [], [], ASKED_AGAIN_S)[0]:
                if receiver.recv(16) == LAST:
                    return count
                count += 1
    raise AssertionError("nothing arrives any more")


def not_taken_in(netns: ScratchNetns) -> int:
    """Return how many packets a busy machine dropped: before any rule saw them, or long after.

    The link drops what the machine does not take in, a socket what nobody comes to read.
    """
    (link,) = ip_here("-stats", "link", "show", "dev", "eth0", netns=netns.path)
    names, values = (line.split() for line in netns.run("grep ^Udp: /proc/net/snmp").splitlines())
    unread = dict(zip(names, values, strict=True))["RcvbufErrors"]
    return int(link["stats64"]["rx"]["dropped"]) + int(unread)


@pytest.mark.parametrize("turn", [adopt, change])
def test_no_packet_is_lost_and_none_slips_by(turn):
    with (
        two_ends() as (client, server),
        udp(server, SERVER, ALLOWED) as allowed,
        udp(server, SERVER, BARRED) as barred,
    ):
        place = NftPlace(server.path, Options())
        place.adopt(compiled(1), HOOKS)
        got = 0
        with load(client) as sent:
            for number in range(2, CHANGES):
                turn(place, number)
                if number % 3 == 0:
                    tidy(place)
                got += arrived(allowed)
        got += settle(client, allowed)

        assert sent[0] - not_taken_in(server) <= got <= sent[0]
        assert got > 0
        assert arrived(barred) == 0


def test_what_a_change_leaves_behind_is_removed_later_or_when_its_name_is_needed():
    with scratch_netns("place") as netns:
        place = NftPlace(netns.path, Options())
        place.adopt(compiled(1), HOOKS)
        tidy(place)
        before = chains(place)

        change(place, 2)
        assert chains(place) > before
        change(place, 3)
        tidy(place)
        assert chains(place) == before

        gone = Change(rule_sets={RuleSetId(3): None}, sides={POD: None})
        place.change(gone, HOOKS)
        place.change(Change(rule_sets=compiled(4).rule_sets, sides=compiled(4).sides), HOOKS)
        tidy(place)
        assert chains(place) == before
        assert place.is_as_left()


def test_what_somebody_else_did_before_the_rules_told_of_connections_is_noticed():
    with scratch_netns("place") as netns:
        place = NftPlace(netns.path, Options())
        place.adopt(compiled(1), HOOKS)
        netns.run("nft add table inet mine")

        place.log(FlowLog(group=7))

        assert not place.is_as_left()
