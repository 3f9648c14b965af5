"""What the fabric has to do, from what should be and what is."""

from __future__ import annotations

from dataclasses import replace

from terway.lab.vpc.contract import pack_u32
from terway.lab.vpc.plan import (
    DeleteEntry,
    LinkPlan,
    PutEntry,
    Unplug,
    fabric_name,
    plan_counters,
    plan_links,
    plan_tables,
    port_numbers,
)
from terway.lab.vpc.tables import Tables
from terway.model.ids import ENIId, InstanceId, MacAddress
from terway.model.network import Link
from tests.support.instances import port

A, B = port(10), port(11)
BOTH = (A.instance_id, B.instance_id)


def link(eni, ifindex: int, **changes) -> Link:
    found = Link(
        ifindex=ifindex,
        name=fabric_name(eni.eni_id),
        mac=MacAddress("ee:ff:ff:ff:ff:ff"),
        mtu_bytes=65535,
        is_up=True,
        kind="veth",
        alias=f"{eni.eni_id} {eni.instance_id} {eni.ifname} {eni.mac}",
    )
    return replace(found, **changes)


def test_a_port_without_a_link_is_plugged_into_its_instance():
    plan = plan_links([A], BOTH, [])

    assert [(one.eni_id, one.instance_id, one.ifname) for one in plan.plugs] == [
        (A.eni_id, A.instance_id, "eth0")
    ]


def test_nothing_is_done_when_every_port_has_its_link():
    assert plan_links([A, B], BOTH, [link(A, 2), link(B, 3)]) == LinkPlan()


def test_a_port_of_an_instance_that_is_not_bound_waits():
    assert plan_links([A], (), []) == LinkPlan()


def test_a_link_without_a_port_or_without_an_instance_goes():
    gone = (Unplug(name=fabric_name(A.eni_id)),)

    assert plan_links([], BOTH, [link(A, 2)]).gone == gone
    assert plan_links([A], (), [link(A, 2)]).gone == gone


def test_a_link_that_tells_another_story_is_replaced():
    moved = replace(A, instance_id=InstanceId("i-other"))
    half_made = link(A, 2, alias="")

    for ports, there in (([moved], link(A, 2)), ([A], half_made)):
        plan = plan_links(ports, (*BOTH, moved.instance_id), [there])
        assert plan.replaced == (Unplug(name=fabric_name(A.eni_id)),)
        assert [one.name for one in plan.plugs] == [fabric_name(A.eni_id)]


def test_links_that_are_no_ports_are_left_alone():
    others = [link(A, 1, name="lo", kind=""), link(A, 2, name="services")]

    assert plan_links([], BOTH, others) == LinkPlan()
    assert port_numbers([A], others) == {}


def test_names_fit_the_kernel_and_differ_for_ids_that_begin_alike():
    names = {fabric_name(ENIId(f"eni-bp1aaaaaaaaaaaaaaaaaa{n}")) for n in range(100)}

    assert len(names) == 100
    assert max(map(len, names)) <= 15


def test_entries_come_before_others_go_and_rule_lists_before_the_ports_that_name_them():
    old = Tables(rule_lists={b"1": b""}, ports={b"p": b"1"}, addresses={b"x": b"p"})
    new = Tables(rule_lists={b"2": b"rules"}, ports={b"p": b"2"}, addresses={b"y": b"p"})

    assert plan_tables(new, old) == (
        PutEntry(table="rule_lists", key=b"2", value=b"rules"),
        PutEntry(table="ports", key=b"p", value=b"2"),
        PutEntry(table="addresses", key=b"y", value=b"p"),
        DeleteEntry(table="addresses", key=b"x"),
        DeleteEntry(table="rule_lists", key=b"1"),
    )


def test_equal_tables_need_nothing_and_rule_lists_are_known_by_their_key():
    tables = Tables(rule_lists={b"1": b"rules"}, ports={b"p": b"1"})

    assert plan_tables(tables, replace(tables, rule_lists={b"1": b""})) == ()


def test_counters_follow_the_ports_and_those_for_nobody_stay():
    made, removed = plan_counters([7], [pack_u32(0), pack_u32(3)])

    assert (made, removed) == ([pack_u32(7)], [pack_u32(3)])
