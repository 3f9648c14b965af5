"""What a pod with an ENI of its own has, and what its node has of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from terway.datapath.exclusive import (
    LEG_IFNAME,
    desired_device,
    desired_leg,
    device_alias,
    node_name_of,
)
from terway.datapath.masquerade import masquerade
from terway.datapath.names import OWNER_PREFIX, host_link_name, host_mac
from terway.datapath.plan import plan_node
from terway.model.address import Family, IPPair, family_of
from terway.model.interface import InterfaceSpec
from terway.model.network import (
    Link,
    LinkAddress,
    Neighbour,
    NodeState,
    Route,
    RoutingRule,
    Sysctl,
)
from terway.model.traffic import Guard
from tests.support.attachments import ENI, NODE_FACTS, attachment, dual_stack

FACTS = replace(
    NODE_FACTS,
    service_cidrs=(ip_network("172.21.0.0/20"), ip_network("fd00:21::/112")),
    host_stack_cidrs=(ip_network("169.254.20.10/32"),),
)
POD = attachment(addresses=dual_stack(1))
V4_ONLY = attachment(addresses=IPPair(v4=dual_stack(1).v4))


def of_kind(kind, objects):
    return [one for one in objects if isinstance(one, kind)]


def device(of=POD):
    return desired_device(of, gateways=ENI.gateways, node=FACTS)


def leg(of=POD):
    return desired_leg(of, node=FACTS)


def routes(objects, family):
    found = of_kind(Route, objects)
    return {
        str(one.destination): (one.link, one.gateway)
        for one in found
        if family_of(one.destination) is family
    }


def test_everything_but_the_nodes_part_goes_straight_to_the_vpc():
    v4, v6 = (ENI.gateways.of(family) for family in Family)

    assert routes(device().pod, Family.V4) == {"0.0.0.0/0": ("eth0", v4)}
    assert routes(device().pod, Family.V6) == {
        "::/0": ("eth0", v6),
        f"{v6}/128": ("eth0", None),  # bug class 30: without it the kernel refuses the default
    }


def test_services_the_host_stack_and_the_node_are_reached_by_the_second_leg():
    v4, v6 = ip_address("169.254.1.1"), ip_address("fe80::1")

    assert routes(leg().pod, Family.V4) == {
        "169.254.1.1/32": ("veth1", None),
        "172.21.0.0/20": ("veth1", v4),
        "169.254.20.10/32": ("veth1", v4),
        "192.168.0.10/32": ("veth1", v4),
    }
    assert routes(leg().pod, Family.V6) == {
        "fe80::1/128": ("veth1", None),
        "fd00:21::/112": ("veth1", v6),
        f"{FACTS.addresses.v6}/128": ("veth1", v6),
    }


def test_the_gateway_of_the_leg_is_a_permanent_neighbour():
    found = of_kind(Neighbour, leg().pod)

    assert {one.mac for one in found} == {host_mac(POD.key)}
    assert {family_of(one.address) for one in found} == set(Family)


def test_both_links_have_the_pods_addresses_and_nothing_else():
    for link, objects in (("eth0", device().pod), (LEG_IFNAME, leg().pod)):
        found = {str(one.address.ip) for one in of_kind(LinkAddress, objects) if one.link == link}
        assert found == {str(one) for one in POD.lease.addresses}


def test_the_node_has_a_route_to_the_pod_no_rules_and_forwards_in_both_families():
    name = host_link_name(POD.key, POD.pod)
    settings = {one.path: one.value for one in of_kind(Sysctl, leg().node)}

    assert of_kind(RoutingRule, leg().node) == []
    assert {str(one.destination) for one in of_kind(Route, leg().node)} == {
        f"{one}/{one.max_prefixlen}" for one in POD.lease.addresses
    }
    assert settings[f"net/ipv6/conf/{name}/forwarding"] == "1"
    assert settings[f"net/ipv4/conf/{name}/forwarding"] == "1"
    assert settings[f"net/ipv4/conf/{name}/rp_filter"] == "0"  # bug class 26


def test_every_interface_of_the_pod_is_set_for_ipv6_by_its_own_name():
    """Bug classes 29 and 36; upstream writes the settings of veth1 for another name."""
    for link, objects in (("eth0", device().pod), (LEG_IFNAME, leg().pod)):
        paths = {one.path for one in of_kind(Sysctl, objects)}
        assert f"net/ipv6/conf/{link}/disable_ipv6" in paths
        assert f"net/ipv6/conf/{link}/accept_ra" in paths
        assert f"net/ipv6/conf/{link}/accept_dad" in paths


def test_what_leaves_by_the_second_leg_is_guarded():
    (guard,) = of_kind(Guard, leg().node)

    assert guard.addresses == POD.lease.addresses


def test_a_pod_without_ipv6_gets_none_of_it():
    for objects in (device(V4_ONLY).pod, leg(V4_ONLY).pod, leg(V4_ONLY).node):
        assert not any("ipv6" in one.path for one in of_kind(Sysctl, objects))
        assert routes(objects, Family.V6) == {}


def test_routes_of_the_pods_own_lead_by_the_vpc():
    wish = replace(
        POD, spec=InterfaceSpec(has_default_route=False, routes=(ip_network("10.0.0.0/8"),))
    )

    assert routes(device(wish).pod, Family.V4) == {"10.0.0.0/8": ("eth0", ENI.gateways.v4)}


def test_a_pod_that_may_not_reach_the_metadata_service_is_told_so_by_the_node():
    wish = replace(POD, spec=InterfaceSpec(has_metadata=False))

    assert routes(leg(wish).pod, Family.V4)["100.100.100.200/32"][0] == LEG_IFNAME
    (rule,) = of_kind(RoutingRule, leg(wish).node)
    assert rule.is_prohibit


def test_a_name_on_the_way_fits_and_is_no_others():
    assert len(node_name_of(ENI.mac)) == 15
    assert node_name_of(ENI.mac) == "eni00163e000001"


def test_a_sweep_deletes_no_device_of_the_node():
    """The lab's ENIs are veths, as host links are; theirs alone have the owner's alias."""
    assert not device_alias(POD).startswith(OWNER_PREFIX)
    free = Link(
        ifindex=9,
        name="eth1",
        mac=ENI.mac,
        mtu_bytes=1500,
        is_up=False,
        kind="veth",
        alias=device_alias(POD),
    )

    assert plan_node((), (), NodeState(links=(free,), objects=())) == ()


@pytest.mark.parametrize(
    "rule",
    [
        'meta nfproto ipv4 iifname "cali*" snat ip to 192.168.0.10 fully-random',
        'ip saddr != 192.168.0.10 oifname "cali*" snat ip to 192.168.0.10 fully-random',
        'meta nfproto ipv6 iifname "cali*" snat ip6 to fd00:0:0:1::10 fully-random',
        'ip6 saddr != fd00:0:0:1::10 oifname "cali*" snat ip6 to fd00:0:0:1::10 fully-random',
    ],
)
def test_what_the_node_forwards_has_its_address_and_random_ports(rule):
    """Bug class 35."""
    assert rule in masquerade(FACTS)


def test_a_node_of_one_family_translates_one():
    assert "ip6" not in masquerade(replace(FACTS, addresses=IPPair(v4=FACTS.addresses.v4)))


def test_of_what_pods_send_by_the_node_only_what_it_translated_goes_on():
    forwarded = masquerade(FACTS).partition("chain forward")[2]

    assert [line.strip() for line in forwarded.splitlines() if line.startswith("    ")] == [
        "type filter hook forward priority 0; policy accept;",
        'iifname "cali*" oifname "cali*" accept',
        'iifname "cali*" ct direction reply accept',
        'iifname "cali*" ct status dnat accept',
        'iifname "cali*" ip daddr 169.254.20.10/32 accept',
        'iifname "cali*" drop',
    ]
