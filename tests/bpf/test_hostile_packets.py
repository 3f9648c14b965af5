"""What a pod that may speak to nobody tries all the same, and what a hostile neighbour does."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from terway.model.policy_maps import (
    NO_LANES,
    NOBODY,
    ClassNumber,
    Content,
    Generation,
    Lanes,
    Pair,
    RuleSetNumber,
    Turn,
    Word,
)
from tests.support.datapath_program import DataPathBench, Outcome, open_datapath_program
from tests.support.frames import ACK, SYN, icmp_error, ipv4, ipv6, tcp, udp

pytestmark = pytest.mark.root

NOW = Generation(3)
RULES, FRIENDS = RuleSetNumber(1), ClassNumber(7)
FRIEND, FRIEND6 = IPv4Address("10.9.0.1"), IPv6Address("2001:db8:9::1")
SPY, SPY6 = IPv4Address("10.66.6.6"), IPv6Address("2001:db8:66::6")
NODE6, GATEWAY6 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::fd")
ATTACKER_LINK, VICTIM_LINK, ENI = 1, 2, 3
SECRET = b"what nobody else may know"


def endpoint(number: int, kind: EndpointKind = EndpointKind.VETH) -> Endpoint:
    return Endpoint(
        number=EndpointNumber(number),
        kind=kind,
        addresses=IPPair(v4=IPv4Address(f"10.0.0.{number}"), v6=IPv6Address(f"2001:db8::{number}")),
        gateways=IPPair(v4=IPv4Address("10.0.0.253"), v6=GATEWAY6),
        eni=ENI,
        pod_mac=MacAddress(f"02:00:00:00:00:{number:02}"),
        link_mac=MacAddress(f"02:00:00:00:01:{number:02}"),
    )


ATTACKER, VICTIM = endpoint(11), endpoint(12)
INSIDE = endpoint(13, EndpointKind.EXCLUSIVE)
OWN, OTHER = IPv4Address("10.0.0.11"), IPv4Address("10.0.0.12")
OWN6, OTHER6 = IPv6Address("2001:db8::11"), IPv6Address("2001:db8::12")


@pytest.fixture(scope="module")
def loaded() -> Iterator[DataPathBench]:
    sizes = {"policy_hosts": 4096, "policy_nets": 4096, "policy_verdicts": 4096}
    with open_datapath_program(max_entries=sizes) as bench:
        bench.put_endpoint(ATTACKER, link=ATTACKER_LINK)
        bench.put_endpoint(VICTIM, link=VICTIM_LINK)
        bench.put_endpoint(INSIDE, link=0)
        bench.put_node_address(NODE6)
        lanes = Lanes(ingress=RULES, egress=RULES)
        maps = PolicyMaps(bench.maps)
        maps.put(
            Content(
                generation=NOW,
                sides={
                    one.number: Turn(NOW, NO_LANES, lanes) for one in (ATTACKER, VICTIM, INSIDE)
                },
                hosts={one: Turn(NOW, NOBODY, FRIENDS) for one in (FRIEND, FRIEND6)},
                verdicts={
                    Pair(RULES, FRIENDS): Word(0xE0000000),
                    Pair(RULES, NOBODY): Word(0),
                },
            )
        )
        maps.switch(NOW)
        yield bench


@pytest.fixture
def bench(loaded: DataPathBench) -> DataPathBench:
    loaded.forget()
    return loaded


def frame(packet: bytes) -> bytes:
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def sent(bench: DataPathBench, packet: bytes) -> Outcome:
    return bench.run("from_pod", frame(packet), link=ATTACKER_LINK)


def reason(outcome: Outcome) -> Loss | None:
    return outcome.losses[0][1] if outcome.losses else None


def asked(bench: DataPathBench) -> bytes:
    """Have the attacker open a connection that it may have; return the packet."""
    packet = ipv4(OWN, FRIEND, 6, tcp(40000, 80))
    assert not sent(bench, packet).losses
    return packet


def test_an_error_goes_to_the_source_of_what_it_quotes_and_to_nobody_else(bench):
    """Else whoever may speak to one may tell everything to everybody, in what errors quote."""
    answer = ipv4(FRIEND, OWN, 6, tcp(80, 40000, flags=SYN | ACK, payload=SECRET))
    asked(bench)

    assert not sent(bench, ipv4(OWN, FRIEND, 1, icmp_error(answer))).losses
    for spy in (SPY, OTHER):
        leak = ipv4(OWN, spy, 1, icmp_error(answer))
        assert reason(sent(bench, leak)) is Loss.MALFORMED


def test_an_error_in_ipv6_goes_to_the_source_of_what_it_quotes(bench):
    answer = ipv6(FRIEND6, OWN6, 6, tcp(80, 40000, flags=SYN | ACK, payload=SECRET))
    assert not sent(bench, ipv6(OWN6, FRIEND6, 6, tcp(40000, 80))).losses

    assert not sent(bench, ipv6(OWN6, FRIEND6, 58, icmp_error(answer, kind=1))).losses
    leak = ipv6(OWN6, SPY6, 58, icmp_error(answer, kind=1))
    assert reason(sent(bench, leak)) is Loss.MALFORMED


def test_a_pod_reports_errors_only_about_what_it_was_sent(bench):
    """Another pod's connection is no way to whom that one speaks."""
    theirs = ipv4(OTHER, FRIEND, 6, tcp(40000, 80))
    assert not bench.run("from_pod", frame(theirs), link=VICTIM_LINK).losses
    answer = ipv4(FRIEND, OTHER, 6, tcp(80, 40000, flags=SYN | ACK, payload=SECRET))

    outcome = sent(bench, ipv4(OWN, FRIEND, 1, icmp_error(answer)))

    assert reason(outcome) is Loss.MALFORMED


def test_a_neighbour_outside_reaches_no_closed_pod_by_an_error_about_anothers(bench):
    packet = asked(bench)
    outcome = bench.run(
        "to_pod", frame(ipv4(SPY, OTHER, 1, icmp_error(packet + SECRET))), link=VICTIM_LINK
    )

    assert reason(outcome) is Loss.MALFORMED


def test_an_error_changes_nothing_of_what_is_remembered(bench):
    packet = asked(bench)
    before = bench.flows()

    bench.run("from_eni", frame(ipv4(SPY, OWN, 1, icmp_error(packet))), link=ENI)

    assert bench.flows() == before


def discovery(kind: int) -> bytes:
    return bytes((kind, 0, 0, 0)) + SECRET


@pytest.mark.parametrize("hop_limit", [64, 255])
@pytest.mark.parametrize("destination", [SPY6, OTHER6])
@pytest.mark.parametrize("kind", [133, 135, 136])
def test_talk_of_neighbours_leaves_no_link(bench, kind, destination, hop_limit):
    """What looks like neighbour discovery carries whatever one likes to whomever one likes."""
    packet = ipv6(OWN6, destination, 58, discovery(kind), hop_limit=hop_limit)

    assert reason(sent(bench, packet)) is Loss.POLICY_EGRESS


def test_forwarded_talk_of_neighbours_enters_no_closed_pod(bench):
    packet = ipv6(SPY6, OTHER6, 58, discovery(136), hop_limit=254)

    outcome = bench.run("to_pod", frame(packet), link=VICTIM_LINK)

    assert reason(outcome) is Loss.POLICY_INGRESS


@pytest.mark.parametrize("neighbour", [NODE6, IPv6Address("fe80::1")])
def test_neighbours_themselves_are_asked_and_told(bench, neighbour):
    packet = ipv6(OWN6, neighbour, 58, discovery(136), hop_limit=255)
    assert sent(bench, packet).went_on

    packet = ipv6(neighbour, OWN6, 58, discovery(135), hop_limit=255)
    assert bench.run("to_pod", frame(packet), link=ATTACKER_LINK).went_on


def test_inside_a_pod_neighbours_are_asked_and_told_but_nobody_else(bench):
    own = INSIDE.addresses.v6
    assert own is not None
    for other, wanted in ((GATEWAY6, None), (SPY6, Loss.POLICY_EGRESS)):
        packet = ipv6(own, other, 58, discovery(135), hop_limit=255)
        outcome = bench.run("out_of_pod", frame(packet), endpoint=INSIDE.number)
        assert reason(outcome) is wanted


def test_a_link_local_source_that_was_forwarded_is_judged(bench):
    """Nobody on the pod's link has sent it."""
    packet = frame(ipv4(IPv4Address("169.254.7.7"), OTHER, 17, udp(5, 6)))

    forwarded = bench.run("to_pod", packet, link=VICTIM_LINK, came_by=ENI)

    assert reason(forwarded) is Loss.POLICY_INGRESS
    assert bench.run("to_pod", packet, link=VICTIM_LINK).went_on


def test_pieces_of_a_forged_packet_say_nothing_about_those_of_another(bench):
    """What a pod sends under another's address is lost, and leaves nothing behind."""
    true = ipv4(OWN, FRIEND, 17, udp(53, 53, bytes(16)), fragment=0x2000)
    forged = ipv4(OWN, FRIEND, 17, udp(9, 9, bytes(16)), fragment=0x2000)
    assert not sent(bench, true).losses
    lost = bench.run("out_of_pod", frame(forged), endpoint=INSIDE.number)
    assert reason(lost) is Loss.SOURCE

    assert not sent(bench, ipv4(OWN, FRIEND, 17, bytes(8), fragment=3)).losses

    assert {dict(key)["source_port"] for key in bench.flows()} == {(53).to_bytes(2, "big")}


def inside(bench: DataPathBench, program: str, packet: bytes) -> Outcome:
    return bench.run(program, frame(packet), endpoint=INSIDE.number)


@pytest.mark.parametrize("target", [IPv6Address("fe80::12"), IPv6Address("ff02::fb")])
def test_inside_a_pod_the_link_is_no_way_past_policies(bench, target):
    """Siblings on one ENI reach each other by link-local addresses and groups."""
    source = IPv6Address("fe80::13")
    out = ipv6(source, target, 17, udp(5353, 5353, SECRET))
    assert reason(inside(bench, "out_of_pod", out)) is Loss.POLICY_EGRESS

    into = ipv6(IPv6Address("fe80::12"), source, 17, udp(5353, 5353, SECRET))
    assert reason(inside(bench, "into_pod", into)) is Loss.POLICY_INGRESS


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_inside_a_pod_talk_of_neighbours_and_groups_goes_on(bench, kind):
    packet = ipv6(IPv6Address("fe80::13"), IPv6Address("ff02::2"), 58, discovery(kind))
    assert inside(bench, "out_of_pod", packet).went_on

    packet = ipv6(IPv6Address("fe80::fd"), IPv6Address("fe80::13"), 58, discovery(kind))
    assert inside(bench, "into_pod", packet).went_on


def test_inside_a_pod_the_nodes_own_cache_is_asked_and_answers(bench):
    cache = IPv4Address("169.254.20.10")
    own = INSIDE.addresses.v4
    assert own is not None
    bench.put_host_stack(ip_network(f"{cache}/32"))

    assert inside(bench, "out_of_pod", ipv4(own, cache, 17, udp(4000, 53))).went_on
    assert inside(bench, "into_pod", ipv4(cache, own, 17, udp(53, 4000))).went_on
    bench.forget("host_stack")
