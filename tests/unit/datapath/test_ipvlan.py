"""The desired state of a pod that is an IPvlan child of its ENI, as iproute2 would print it."""

from dataclasses import replace

import pytest

from terway.datapath.damage import damage_of
from terway.datapath.host import desired_eni
from terway.datapath.ipvlan import desired_child, plan_host_children
from terway.datapath.plan import plan_attach, plan_detach, plan_node, unborn
from terway.datapath.shared import desired_of
from terway.datapath.verify import describe, verify
from terway.model.address import IPPair
from terway.model.endpoint import EndpointKind
from terway.model.interface import InterfaceSpec, Mode
from terway.model.network import (
    NODE,
    CreateIpvlan,
    CreateVeth,
    DeleteLink,
    Link,
    LinkSettings,
    NodeState,
    Put,
    Remove,
    Sysctl,
)
from terway.model.programs import EdgePrograms, InnerPrograms, PodPrograms
from tests.support.attachments import ENI, NODE_FACTS, attachment

FACTS = replace(NODE_FACTS, has_children=True, has_datapath=True)
DESIRED = desired_child(attachment(), eni=ENI, node=FACTS)
THERE = replace(DESIRED, pod=(LinkSettings(name="lo"), *(DESIRED.pod or ())))


def lines(objects):
    return {describe(one) for one in objects or () if not isinstance(one, Sysctl)}


def test_the_pod_has_whole_addresses_and_its_vswitches_gateway():
    found = {line for line in lines(DESIRED.pod) if line.startswith(("address", "route"))}

    assert found == {
        "address 192.168.32.1/32 dev eth0: present",
        "address fd00:0:0:2::1/128 dev eth0: present",
        "route 0.0.0.0/0 table 254: via 192.168.63.253 dev eth0 scope global onlink",
        "route ::/0 table 254: via fd00:0:0:2::fffd dev eth0 scope global onlink",
        "route fd00:0:0:2::fffd/128 table 254: dev eth0 scope global",
        "route 192.168.0.10/32 table 254: dev eth0 scope link",
        "route fd00:0:0:1::10/128 table 254: dev eth0 scope global",
    }


def test_the_node_is_a_permanent_neighbour_at_the_enis_own_mac():
    assert f"neighbour 192.168.0.10 dev eth0: {ENI.mac}" in lines(DESIRED.pod)
    assert f"neighbour fd00:0:0:1::10 dev eth0: {ENI.mac}" in lines(DESIRED.pod)


def test_the_node_leads_to_the_pod_by_its_own_child_and_has_the_rules_of_policy_routing():
    assert {line for line in lines(DESIRED.node) if line.startswith(("rule", "route"))} == {
        "route 192.168.32.1/32 table 254: dev ipvl_7 scope link",
        "rule 512 to 192.168.32.1/32: lookup 254",
        "rule 2048 from 192.168.32.1/32: lookup 1007",
        "route fd00:0:0:2::1/128 table 254: dev ipvl_7 scope global",
        "rule 512 to fd00:0:0:2::1/128: lookup 254",
        "rule 2048 from fd00:0:0:2::1/128: lookup 1007",
    }


def test_the_host_child_has_no_address_and_comes_with_the_eni():
    objects = desired_eni(ENI, FACTS)

    assert [one for one in lines(objects) if "ipvl_7" in one] == ["link ipvl_7: up noarp mtu 1500"]
    assert EdgePrograms in {type(one) for one in objects}
    assert not [one for one in lines(desired_eni(ENI, NODE_FACTS)) if "ipvl_" in one]


def test_a_missing_host_child_is_made_without_another():
    link = Link(ifindex=9, name="ipvl_7", mac=ENI.mac, mtu_bytes=1500, is_up=True, kind="ipvlan")

    [made] = plan_host_children((ENI,), (), FACTS)

    assert (made.parent, made.peer.name, made.netns) == ("eth1", "ipvl_7", NODE)
    assert plan_host_children((ENI,), (link,), FACTS) == ()
    assert plan_host_children((ENI,), (), NODE_FACTS) == ()


def test_the_programs_stand_before_the_pods_link_is_up():
    plan = plan_attach(DESIRED, unborn(DESIRED))

    assert isinstance(plan[0], CreateIpvlan)
    kinds = [type(one.object) for one in plan if isinstance(one, Put)]
    assert kinds[:2] == [PodPrograms, InnerPrograms]


def test_the_endpoint_is_known_by_the_host_child():
    [programs] = [one for one in DESIRED.node if isinstance(one, PodPrograms)]

    assert programs.link == "ipvl_7"
    assert programs.endpoint.kind is EndpointKind.IPVLAN
    assert (programs.endpoint.pod_mac, programs.endpoint.eni) == (ENI.mac, ENI.ifindex)


def test_a_child_that_is_not_there_is_made_and_one_of_another_eni_is_told():
    away = replace(DESIRED, alias="", is_paired=False, pod=())

    assert DESIRED.birth in plan_attach(DESIRED, away)
    told = [str(one) for one in verify(DESIRED, replace(THERE, is_paired=False))]
    assert "ipvlan eth0: wanted child of eth1, found no such child" in told[0]


def test_undoing_deletes_the_child_by_its_alias_alone():
    child = DeleteLink(name="eth0", netns=DESIRED.birth.netns, now=True)

    ours, others = plan_detach(DESIRED, THERE), plan_detach(DESIRED, replace(THERE, alias="other"))

    assert ours[-1] == child
    assert child not in others
    assert plan_detach(DESIRED, replace(THERE, pod=None))[-1] != child
    assert all(isinstance(one, Remove) for one in others)


def test_a_sweep_leaves_pods_of_the_host_child_and_takes_routes_of_nobodys():
    host = desired_eni(ENI, FACTS)
    links = tuple(
        Link(ifindex=number, name=name, mac=ENI.mac, mtu_bytes=1500, is_up=True, kind=kind)
        for number, name, kind in ((7, "eth1", ""), (9, "ipvl_7", "ipvlan"))
    )
    other = desired_child(attachment(2), eni=ENI, node=FACTS)
    plain = (*host, *(one for pod in (DESIRED, other) for one in pod.node))
    actual = NodeState(links=links, objects=plain)

    swept = plan_node(host, (DESIRED,), actual)

    gone = {describe(one.object) for one in swept if isinstance(one, Remove)}
    assert gone == {line for line in lines(other.node) if line.startswith(("rule", "route"))}
    assert len(swept) == len(gone)


def test_a_deleted_child_is_a_damage_in_the_pod():
    [damage] = damage_of((DESIRED.birth,), ())

    assert (damage.kind, damage.place) == ("link", (DESIRED.birth.netns, ("link", "eth0")))


@pytest.mark.parametrize(
    ("mode", "birth"),
    [(Mode.IPVLAN, CreateIpvlan), (Mode.VETH, CreateVeth), (Mode.DATAPATHV2, CreateVeth)],
)
def test_an_attachment_keeps_the_mode_that_it_was_made_in(mode, birth):
    made = replace(attachment(), spec=InterfaceSpec(mode=mode))

    assert isinstance(desired_of(made, eni=ENI, node=FACTS).birth, birth)


def test_an_ipv4_pod_has_nothing_of_ipv6():
    v4 = attachment(addresses=IPPair(v4=attachment().lease.addresses.v4))

    desired = desired_child(v4, eni=ENI, node=FACTS)

    assert not [one for one in lines((*desired.node, *(desired.pod or ()))) if "fd00" in one]
