"""What the rules of nftables are made of, and what a change of them touches. On paper."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.model.errors import ConflictError
from terway.model.nft import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    Element,
    FlushChain,
    Hook,
    Table,
)
from terway.model.nft_rule import ACCEPT, Decide, Lookup
from terway.policy.cluster import PodKey, Protocol
from terway.policy.compiled import Change, ClassId, Compiled, RuleSet, RuleSetId, Sides
from terway.policy.nft.answers import on_paper
from terway.policy.nft.interpreter import Interpreter
from terway.policy.nft.names import TABLE, Names, epoch_of, next_names, ports_name
from terway.policy.nft.packet import ACK, RST, CtState, Packet
from terway.policy.nft.paper import PaperKernel
from terway.policy.nft.ports import print_ports, read_ports
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import INTERFACES, Place
from terway.policy.nft.words import goto
from terway.policy.policies import Direction
from terway.policy.ports import EVERY_PORT, LAST_PORT, NOTHING, PortSet, ports_of, union

POD = PodKey(namespace="x", name="a")
HOOKS = {POD: "cali1"}
PEER, STRANGER = ip_address("10.0.0.1"), ip_address("192.0.2.1")
OWN = ip_address("10.0.0.9")
HTTP = ports_of(Protocol.TCP, 80, 80)


def isolated(ports: PortSet = HTTP, direction: Direction = Direction.INGRESS) -> Compiled:
    number = RuleSetId(1)
    rule_set = RuleSet(direction=direction, default=NOTHING, verdicts={ClassId(1): ports})
    is_ingress = direction is Direction.INGRESS
    sides = Sides(ingress=number) if is_ingress else Sides(egress=number)
    return Compiled(hosts={PEER: ClassId(1)}, rule_sets={number: rule_set}, sides={POD: sides})


def printed(wish: Compiled, place: Place = Place.NODE) -> tuple[Printer, Table]:
    printer = Printer(place)
    return printer, on_paper(printer.adopt(wish, HOOKS, None))


def to_pod(**changed: Any) -> Packet:
    packet = Packet(
        hook=Hook.FORWARD,
        source=PEER,
        destination=OWN,
        protocol=6,
        destination_port=80,
        iif="eth0",
        oif="cali1",
    )
    return replace(packet, **changed)


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"destination_port": 81}, False),
        ({"protocol": 17}, False),
        ({"source": STRANGER}, False),
        ({"oif": "cali2", "source": STRANGER}, True),
        ({"tcp_flags": ACK}, False),
        ({"tcp_flags": RST}, False),
        ({"state": CtState.INVALID}, False),
        ({"state": CtState.ESTABLISHED, "tcp_flags": ACK}, True),
        ({"state": CtState.ESTABLISHED, "tcp_flags": ACK, "destination_port": 81}, False),
        ({"state": CtState.UNTRACKED}, True),
        ({"state": CtState.UNTRACKED, "destination_port": 81}, False),
        ({"state": CtState.RELATED, "protocol": 1, "source": STRANGER}, True),
        ({"protocol": 1}, False),
        ({"iif": "cali1", "source": STRANGER}, True),
    ],
)
def test_an_isolated_pod_gets_what_its_policies_allow_and_nothing_strange(changed, passes):
    _, table = printed(isolated())

    assert Interpreter(table).accepts(to_pod(**changed)) is passes


@pytest.mark.parametrize(("port", "passes"), [(80, True), (81, False)])
def test_answers_are_judged_by_the_port_that_was_asked(port, passes):
    _, table = printed(isolated())

    asked = to_pod(destination_port=port)

    assert Interpreter(table).accepts(asked.answer()) is passes


def test_what_an_isolated_pod_opens_itself_is_answered():
    _, table = printed(isolated())

    asked = to_pod(source=OWN, destination=STRANGER, iif="cali1", oif="eth0")

    assert Interpreter(table).accepts(asked)
    assert Interpreter(table).accepts(asked.answer())


@pytest.mark.parametrize("icmp_type", [*range(130, 138), 143])
@pytest.mark.parametrize("hook", [Hook.INPUT, Hook.OUTPUT])
def test_neighbours_are_heard_inside_a_pod_whatever_isolates_it(icmp_type, hook):
    deny = isolated(NOTHING, Direction.INGRESS if hook is Hook.INPUT else Direction.EGRESS)
    _, table = printed(deny, Place.POD)
    packet = Packet(
        hook=hook,
        source=ip_address("fe80::1"),
        destination=ip_address("fe80::2"),
        protocol=58,
        icmp_type=icmp_type,
        iif="cali1" if hook is Hook.INPUT else "",
        oif="cali1" if hook is Hook.OUTPUT else "",
    )

    assert Interpreter(table).accepts(packet)
    assert not Interpreter(table).accepts(replace(packet, icmp_type=128))


def test_a_pod_has_as_many_elements_with_many_policies_as_with_one():
    wish = isolated()
    verdicts = {ClassId(number): ports_of(Protocol.TCP, number, number) for number in range(1, 500)}
    rule_set = replace(wish.rule_sets[RuleSetId(1)], verdicts=verdicts)
    _, few = printed(wish)
    _, many = printed(replace(wish, rule_sets={RuleSetId(1): rule_set}))

    for name in ("forward", "forward_replies", "ingress1", "ingress1_replies", "deny"):
        assert few.chains[name] == many.chains[name]
    for name in ("egress", "ingress", "own_node", "itself"):
        assert few.sets[name] == many.sets[name]


def test_a_new_host_is_one_element():
    printer, _ = printed(isolated())

    done = printer.change(Change(hosts={STRANGER: ClassId(1)}), HOOKS)

    assert not done.make
    assert not done.remove
    (added,) = done.switch
    assert isinstance(added, AddElements)
    assert added.elements == (Element(STRANGER.packed, None, goto("tcp80")),)


def test_a_host_that_the_rule_sets_do_not_know_is_nothing():
    printer, _ = printed(isolated())

    assert not printer.change(Change(hosts={STRANGER: ClassId(7)}), HOOKS)


def test_a_host_of_another_class_is_exchanged_in_one_transaction():
    printer, _ = printed(isolated())

    done = printer.change(
        Change(hosts={PEER: ClassId(2)}, verdicts={(RuleSetId(1), ClassId(2)): EVERY_PORT}), HOOKS
    )

    assert [type(one) for one in done.switch] == [DeleteElements, AddElements]


def test_a_pod_that_is_plugged_in_or_out_is_its_elements():
    wish = isolated()
    printer = Printer(Place.NODE)
    printer.adopt(wish, {}, None)

    plugged = printer.change(Change(), HOOKS)
    unplugged = printer.change(Change(), {})

    assert {type(one) for one in plugged.switch} == {AddElements}
    assert {one.set for one in plugged.switch if isinstance(one, AddElements)} == {
        "ingress",
        "itself",
    }
    assert {type(one) for one in unplugged.switch} == {DeleteElements}
    assert not printer.change(Change(), {})


def test_a_pod_that_goes_from_rule_set_to_rule_set_is_never_missing_in_a_map():
    """A look-up on its way may miss an element that is exchanged; a chain's rule it does not."""
    wish = isolated()
    printer, _ = printed(wish)
    again = {RuleSetId(2): wish.rule_sets[RuleSetId(1)], RuleSetId(1): None}

    done = printer.change(Change(rule_sets=again, sides={POD: Sides(ingress=RuleSetId(2))}), HOOKS)

    assert done.switch == (
        FlushChain("ingress_cali1"),
        AddRule("ingress_cali1", (Decide(goto("ingress2")),)),
    )


def test_an_interface_that_becomes_another_pods_keeps_its_chain():
    wish = isolated()
    other = PodKey(namespace="x", name="b")
    printer, _ = printed(replace(wish, sides={**wish.sides, other: wish.sides[POD]}))

    assert not printer.change(Change(), {other: "cali1"})


def test_what_a_rule_set_leaves_behind_is_removed_with_it():
    empty = on_paper(Printer(Place.NODE).adopt(Compiled(), HOOKS, None))
    printer = Printer(Place.NODE)
    kernel = PaperKernel()
    kernel.change(printer.adopt(isolated(), HOOKS, None))

    gone = Change(rule_sets={RuleSetId(1): None}, hosts={PEER: None}, sides={POD: None})
    kernel.change(printer.change(gone, HOOKS))

    assert kernel.read(TABLE) == empty


def test_names_tell_few_ports_and_never_mean_two_things():
    assert ports_name(HTTP) == "tcp80"
    assert (
        ports_name(PortSet(tcp=((1, 9),), udp=((0, LAST_PORT),), other=True)) == "tcp1-9_udp_other"
    )
    many = PortSet(tcp=tuple((port, port) for port in range(1, 200, 2)))
    more = many | ports_of(Protocol.TCP, 999, 999)
    assert ports_name(many).startswith("ports_")
    assert ports_name(many) != ports_name(more)


def test_names_of_the_next_process_are_new():
    _, table = printed(isolated())

    names = next_names(table)

    assert names.of("deny") == "deny.1"
    assert epoch_of("deny.1") == 1
    assert next_names(None).of("deny") == "deny"


_intervals = st.tuples(
    st.sampled_from([Protocol.TCP, Protocol.UDP, Protocol.SCTP]),
    st.sampled_from([0, 1, 79, 80, 81, 65534, 65535]),
    st.sampled_from([0, 1, 80, 443, 65535]),
)


@given(st.lists(_intervals, min_size=1, max_size=6), st.booleans())
@settings(max_examples=200)
def test_ports_are_read_as_they_were_printed(drawn, other):
    ports = union(ports_of(one, min(a, b), max(a, b)) for one, a, b in drawn)
    ports |= PortSet(other=other)

    rules = print_ports(ports, Names())

    assert read_ports(rules.chains[rules.set_name], rules.elements) == ports


@pytest.mark.parametrize(
    "operation",
    [
        AddChain("one"),
        AddSet("map", INTERFACES),
        DeleteChain("one"),
        DeleteChain("missing"),
        DeleteSet("map"),
        DeleteSet("missing"),
        AddRule("missing", (Decide(ACCEPT),)),
        AddRule("one", (Decide(goto("missing")),)),
        AddRule("one", (Lookup("missing"),)),
        AddElements("map", INTERFACES, (Element(b"short", None, ACCEPT),)),
        AddElements("map", INTERFACES, (Element(bytes(16), None, goto("missing")),)),
        AddElements("map", INTERFACES, (Element(bytes(16)),)),
        DeleteElements("map", INTERFACES, (Element(bytes(16), None, ACCEPT),)),
    ],
    ids=str,
)
def test_the_kernel_on_paper_refuses_what_a_printer_must_never_say(operation):
    kernel = PaperKernel()
    rule = (Lookup("map", is_verdict=True),)
    kernel.apply((AddTable(), AddChain("one"), AddSet("map", INTERFACES), AddRule("one", rule)))

    with pytest.raises(ConflictError):
        kernel.apply((operation,))
