"""What the planners do in each situation: facts in, operations out."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from terway.datapath.diff import diff
from terway.datapath.host import EVERYWHERE, desired_eni, desired_host
from terway.datapath.plan import plan_attach, plan_detach, plan_node
from terway.datapath.veth import desired_attachment
from terway.model.address import Family
from terway.model.errors import ConflictError, UsageError
from terway.model.ids import MacAddress
from terway.model.network import (
    NODE,
    AttachmentState,
    DeleteLink,
    Link,
    LinkSettings,
    NetObject,
    NodeState,
    Operation,
    Put,
    Remove,
    Route,
    RoutingRule,
)
from terway.model.programs import PodPrograms
from terway.model.traffic import Guard
from tests.support.attachments import ENI, NODE_FACTS, attachment

DESIRED = desired_attachment(attachment(), eni=ENI, node=NODE_FACTS)
ABSENT = replace(DESIRED, alias="", is_paired=False, node=(), pod=(LinkSettings(name="lo"),))
HOST = DESIRED.birth.host.name


def with_link(state: AttachmentState, **changes: object) -> AttachmentState:
    """Return `state` with a host link of somebody else's."""
    return replace(state, node=(LinkSettings(name=HOST),), **changes)  # type: ignore[arg-type]


def stray_rule(table: int = 1009, priority: int = 2048) -> RoutingRule:
    source = ip_network("192.168.32.1/32")
    return RoutingRule(family=Family.V4, priority=priority, source=source, table=table)


def test_a_new_attachment_starts_with_its_veth_and_removes_nothing():
    plan = plan_attach(DESIRED, ABSENT)

    assert plan[0] == DESIRED.birth
    assert not [one for one in plan if isinstance(one, Remove | DeleteLink)]


def test_an_attachment_that_is_there_needs_nothing():
    assert plan_attach(DESIRED, DESIRED) == ()


def test_the_pods_side_is_made_before_packets_are_routed_to_it():
    plan = [one for one in plan_attach(DESIRED, ABSENT) if isinstance(one, Put)]

    last_in_pod = max(i for i, one in enumerate(plan) if one.netns != NODE)
    first_rule = min(i for i, one in enumerate(plan) if isinstance(one.object, RoutingRule))
    assert last_in_pod < first_rule


def test_a_host_link_left_by_an_earlier_sandbox_goes_first():
    plan = plan_attach(DESIRED, with_link(ABSENT, alias="terway old/eth0"))

    assert plan[:2] == (DeleteLink(name=HOST, now=True), DESIRED.birth)


def test_an_interface_of_somebody_else_in_the_pod_is_refused():
    taken = replace(ABSENT, pod=(LinkSettings(name="eth0"),))

    with pytest.raises(UsageError, match="exists already"):
        plan_attach(DESIRED, taken)


def test_a_namespace_that_is_gone_is_a_conflict():
    with pytest.raises(ConflictError) as caught:
        plan_attach(DESIRED, replace(ABSENT, pod=None))

    assert caught.value.code == "ENOENT"


def test_a_rule_to_the_wrong_eni_goes_after_the_right_one_is_there():
    wrong = tuple(stray_rule() if one == stray_rule(1007) else one for one in DESIRED.node)

    plan = plan_attach(DESIRED, replace(DESIRED, node=wrong))

    assert plan == (
        Put(netns=NODE, object=stray_rule(1007)),
        Remove(netns=NODE, object=stray_rule()),
    )


def test_what_a_chained_plugin_added_in_the_pod_stays():
    extra = Route(destination=ip_network("10.9.0.0/16"), link="eth0")

    assert plan_attach(DESIRED, replace(DESIRED, pod=(*(DESIRED.pod or ()), extra))) == ()


def test_a_mac_and_mtu_that_a_chained_plugin_changed_in_the_pod_stay():
    tuned = LinkSettings(name="eth0", mac=MacAddress("02:00:00:00:00:09"), mtu_bytes=1400)
    pod = tuple(tuned if one == LinkSettings(name="eth0") else one for one in DESIRED.pod or ())

    (put,) = plan_attach(DESIRED, replace(DESIRED, pod=pod))

    # but the guard on the node's end takes frames from that MAC now
    assert isinstance(put, Put)
    assert isinstance(put.object, Guard)
    assert put.object.mac == tuned.mac


def test_detaching_removes_rules_before_routes_and_the_link_last():
    kinds = [_kind(one) for one in plan_detach(DESIRED, DESIRED)]

    assert kinds == [*["RoutingRule"] * 4, *["Route"] * 2, "DeleteLink"]


def _kind(operation: Operation) -> str:
    about = operation.object if isinstance(operation, Put | Remove) else operation
    return type(about).__name__


def test_detaching_what_is_not_there_is_nothing():
    assert plan_detach(DESIRED, replace(ABSENT, pod=None)) == ()


def test_detaching_an_old_sandbox_leaves_the_new_sandboxs_link():
    newer = with_link(ABSENT, alias="terway new/eth0")

    assert plan_detach(DESIRED, newer) == ()


def test_detaching_an_old_sandbox_forgets_its_endpoint_and_not_that_of_the_new_one():
    """They have one link: of the programs there, each ADD and DEL knows its own endpoint."""
    node = replace(NODE_FACTS, has_datapath=True)
    old, new = (
        desired_attachment(one, eni=ENI, node=node)
        for one in (attachment(1), replace(attachment(1), key=attachment(2).key))
    )
    programs = [one for one in new.node if isinstance(one, PodPrograms)]
    later = replace(old, alias=new.alias, node=(LinkSettings(name=HOST), *programs))

    plan = plan_detach(old, later)

    removed = [one.object for one in plan if isinstance(one, Remove)]
    assert removed == [one for one in old.node if isinstance(one, PodPrograms)]


def test_detaching_leaves_rules_that_are_not_ours():
    foreign = replace(stray_rule(priority=100), table=254)

    assert plan_detach(DESIRED, replace(ABSENT, node=(foreign,))) == ()


# -- the whole node

HOST_OBJECTS = (*desired_host(NODE_FACTS), *desired_eni(ENI, NODE_FACTS))


def link(name: str, ifindex: int, *, alias: str = "", kind: str = "veth") -> Link:
    return Link(
        ifindex=ifindex, name=name, mac=None, mtu_bytes=1500, is_up=True, kind=kind, alias=alias
    )


def node_state(*objects: NetObject, links: Iterable[Link] = ()) -> NodeState:
    there = (link("eth0", 2, kind=""), link("eth1", 7, kind=""), *links)
    return NodeState(links=there, objects=objects)


HEALTHY = node_state(*HOST_OBJECTS, *DESIRED.node, links=[link(HOST, 9, alias="terway c1/eth0")])


def test_a_healthy_node_needs_nothing():
    assert plan_node(HOST_OBJECTS, (DESIRED,), HEALTHY) == ()


def test_the_rules_and_link_of_a_pod_that_nobody_knows_are_removed():
    plan = plan_node(HOST_OBJECTS, (), HEALTHY)

    assert [_kind(one) for one in plan] == [*["RoutingRule"] * 4, "DeleteLink"]


def test_foreign_links_rules_and_routes_are_left_alone():
    foreign = (
        RoutingRule(family=Family.V4, priority=2048, table=254),
        RoutingRule(family=Family.V4, priority=100, table=1007, source=ip_network("10.0.0.1/32")),
        Route(destination=ip_network("10.0.0.0/8"), link="eth0"),
        Route(destination=ip_network("10.0.0.0/8"), link="eth0", table=500),
    )
    actual = replace(
        HEALTHY,
        objects=(*HEALTHY.objects, *foreign),
        links=(*HEALTHY.links, link("cali12345678901", 11), link("docker0", 12, kind="bridge")),
    )

    assert plan_node(HOST_OBJECTS, (DESIRED,), actual) == ()


def test_surplus_routes_in_an_enis_table_are_removed():
    surplus = Route(destination=ip_network("10.0.0.0/8"), link="eth1", table=1007)

    plan = plan_node(
        HOST_OBJECTS, (DESIRED,), replace(HEALTHY, objects=(*HEALTHY.objects, surplus))
    )

    assert plan == (Remove(netns=NODE, object=surplus),)


def default_via(link: str, table: int, *, is_onlink: bool = True) -> Route:
    return Route(
        destination=EVERYWHERE[Family.V4],
        link=link,
        table=table,
        gateway=ENI.gateways.v4,
        is_onlink=is_onlink,
    )


def test_the_table_that_an_eni_had_under_another_number_is_emptied():
    stale = default_via("eth1", 1003)

    plan = plan_node(HOST_OBJECTS, (DESIRED,), replace(HEALTHY, objects=(*HEALTHY.objects, stale)))

    assert plan == (Remove(netns=NODE, object=stale),)


def test_other_tables_in_the_range_of_the_enis_are_left_alone():
    foreign = (
        default_via("eth0", 1003),
        default_via("eth1", 1004, is_onlink=False),
        default_via("eth1", 500),
        Route(destination=ip_network("10.0.0.0/8"), link="eth1", table=1005),
    )
    actual = replace(HEALTHY, objects=(*HEALTHY.objects, *foreign))

    assert plan_node(HOST_OBJECTS, (DESIRED,), actual) == ()


def test_an_eni_that_is_unplugged_does_not_keep_the_rest_from_being_mended():
    gone = replace(ENI, name="eth2", ifindex=8)
    host = (*HOST_OBJECTS, *desired_eni(gone, NODE_FACTS))

    plan = plan_node(host, (DESIRED,), replace(HEALTHY, objects=HEALTHY.objects[1:]))

    assert plan == (Put(netns=NODE, object=HOST_OBJECTS[0]),)


def test_a_pod_whose_link_is_gone_keeps_its_rules():
    actual = node_state(*HOST_OBJECTS)

    plan = plan_node(HOST_OBJECTS, (DESIRED,), actual)

    assert {_kind(one) for one in plan} == {"RoutingRule"}


def test_two_enis_of_one_vswitch_each_lead_to_the_gateway():
    second = replace(ENI, name="eth2", ifindex=8)
    both = (*desired_eni(ENI, NODE_FACTS), *desired_eni(second, NODE_FACTS))

    changes = diff(both, (), netns=NODE, is_owned=lambda _: True)

    direct = [put for put in changes.puts if str(put.object).count("fffd/128")]
    assert len(direct) == 2
