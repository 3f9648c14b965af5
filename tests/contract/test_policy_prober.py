"""Connections between two namespaces, one of which lets only some in: each is told as it is."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from terway.lab.policy.prober import Attempt, Outcome, try_all
from terway.model.address import Family
from terway.policy.cluster import Protocol
from tests.support.netns import ScratchNetns, scratch_netns

pytestmark = pytest.mark.root

OPEN, DROPPED, REFUSED = 80, 81, 82
ADDRESSES = {
    Family.V4: (ip_address("10.0.0.1"), ip_address("10.0.0.2")),
    Family.V6: (ip_address("fd00::1"), ip_address("fd00::2")),
}
PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
RULES = f"""
table inet t {{
  chain c {{
    type filter hook input priority 0;
    ct state invalid counter drop
    th dport {DROPPED} drop
    th dport {REFUSED} reject
  }}
}}
"""


@pytest.fixture
def pair() -> Iterator[tuple[ScratchNetns, ScratchNetns]]:
    with scratch_netns("asks") as asks, scratch_netns("answers") as answers:
        asks.run(f"ip link add v0 type veth peer name v0 netns {answers.path}")
        for number, one in enumerate((asks, answers)):
            for family, pair_ in ADDRESSES.items():
                size = 24 if family is Family.V4 else 64
                flag = "nodad" if family is Family.V6 else ""
                one.run(f"ip addr add {pair_[number]}/{size} dev v0 {flag}")
            one.run("ip link set v0 up")
        # A link that was just set up sends nothing yet, and asks for a neighbour once a second.
        assert all(asks.pings(there) for _, there in ADDRESSES.values())
        answers.run(f"nft -f - <<'E'\n{RULES}\nE")
        yield asks, answers


def attempt(
    pair: tuple[ScratchNetns, ScratchNetns], family: Family, protocol: Protocol, port: int
) -> Attempt:
    source, destination = ADDRESSES[family]
    return Attempt(
        source_netns=pair[0].path,
        source=source,
        destination_netns=pair[1].path,
        destination=destination,
        protocol=protocol,
        port=port,
    )


def test_what_is_let_in_is_answered_and_nothing_else(pair):
    ports = (OPEN, DROPPED, REFUSED)
    asked = [
        attempt(pair, family, protocol, port)
        for family, protocol, port in itertools.product(Family, PROTOCOLS, ports)
    ]

    outcomes = try_all(asked)

    assert outcomes == [Outcome(is_answered=one.port == OPEN) for one in asked]
    assert "packets 0 " in pair[1].run("nft list ruleset | grep counter")


def test_an_echo_of_icmp_is_let_in_or_not(pair):
    asked = [attempt(pair, family, Protocol.OTHER, 0) for family in Family]

    before = try_all(asked)
    pair[1].run("nft 'add rule inet t c meta l4proto icmp drop'")
    after = try_all(asked)

    assert before == [Outcome(is_answered=True)] * 2
    assert after == [Outcome(is_answered=family is Family.V6) for family in Family]


def test_a_pod_hears_its_own_request_and_takes_it_for_no_answer(pair):
    asked = replace(
        attempt(pair, Family.V4, Protocol.OTHER, 0),
        destination_netns=pair[0].path,
        destination=ADDRESSES[Family.V4][0],
    )
    pair[0].run("ip link set lo up")

    assert try_all([asked]) == [Outcome(is_answered=True)]
    pair[0].run("nft add table ip s; nft 'add chain ip s c {type filter hook input priority 0;}'")
    pair[0].run("nft 'add rule ip s c icmp type echo-reply drop'")
    assert try_all([asked]) == [Outcome()]


def test_many_at_once_are_all_answered(pair):
    asked = [
        attempt(pair, Family.V4, protocol, OPEN + number)
        for protocol, number in itertools.product(PROTOCOLS, range(100, 250))
    ]

    assert all(one.is_answered for one in try_all(asked))


def test_a_translated_address_is_asked_for_and_the_one_behind_answers(pair):
    service = ip_address("10.0.0.99")
    pair[0].run(
        "nft add table ip n; nft 'add chain ip n o {type nat hook output priority -100;}'; "
        f"nft add rule ip n o ip daddr {service} tcp dport 8080 dnat to 10.0.0.2:{OPEN}"
    )
    asked = attempt(pair, Family.V4, Protocol.TCP, OPEN)

    assert try_all([replace(asked, via=(service, 8080))]) == [Outcome(is_answered=True)]


def test_a_port_that_somebody_has_is_an_error_and_no_verdict(pair):
    asked = attempt(pair, Family.V4, Protocol.TCP, OPEN)

    with pair[1].entered(), socket.create_server((str(asked.destination), OPEN)):
        (outcome,) = try_all([asked])

    assert outcome.error == "port 80 of 10.0.0.2: Address already in use"
