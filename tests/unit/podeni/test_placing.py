"""From which vSwitch an ENI comes, and what is said when there is none."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from terway.model.eni import VSwitch
from terway.model.ids import VpcId, VSwitchId, ZoneId
from terway.model.pod_network import PodNetwork, VSwitchChoice
from terway.podeni.placing import NoPlace, Placed, Supply, place

A, B, C = VSwitchId("vsw-a"), VSwitchId("vsw-b"), VSwitchId("vsw-c")
ZONE_A, ZONE_B = ZoneId("zone-a"), ZoneId("zone-b")


def supply(vswitch_id: VSwitchId, zone: ZoneId, available: int, *, v6: bool = True) -> Supply:
    vswitch = VSwitch(
        id=vswitch_id,
        vpc_id=VpcId("vpc-1"),
        zone_id=zone,
        cidr=IPv4Network("10.0.0.0/24"),
        ipv6_cidr=IPv6Network("fd00::/64") if v6 else None,
    )
    return Supply(vswitch=vswitch, available=available)


KNOWN = {A: supply(A, ZONE_A, 5), B: supply(B, ZONE_A, 9), C: supply(C, ZONE_B, 7, v6=False)}


def network(*vswitches, interface="eth0", choice=VSwitchChoice.ORDERED):
    return PodNetwork(interface=interface, vswitch_ids=vswitches, vswitch_choice=choice)


def placed(*networks, known=KNOWN, zone=ZONE_A, v6=False, draw=""):
    return place(networks, known, zone_id=zone, needs_ipv6=v6, draw=draw)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [(VSwitchChoice.ORDERED, A), (VSwitchChoice.MOST, B), (VSwitchChoice.UNSAID, A)],
)
def test_the_policy_chooses_among_those_in_the_zone(choice, chosen):
    assert placed(network(A, B, C, choice=choice)).vswitches == {"eth0": chosen}


def test_a_random_choice_differs_from_pod_to_pod_and_is_the_same_in_a_replay():
    one = network(A, B, choice=VSwitchChoice.RANDOM)

    assert {placed(one, draw=str(n)).vswitches["eth0"] for n in range(20)} == {A, B}
    assert placed(one, draw="x") == placed(one, draw="x")


def test_an_exhausted_vswitch_is_passed_over():
    assert placed(network(A, B), known={**KNOWN, A: supply(A, ZONE_A, 0)}).vswitches == {"eth0": B}


def test_the_networks_of_one_pod_do_not_take_the_same_last_address():
    known = {**KNOWN, A: supply(A, ZONE_A, 1)}

    found = placed(network(A, B), network(A, B, interface="eth1"), known=known)

    assert found.vswitches == {"eth0": A, "eth1": B}


def test_a_pod_without_a_node_passes_over_an_exhausted_zone():
    known = {**KNOWN, A: supply(A, ZONE_A, 0)}

    assert placed(network(A, C), known=known, zone=None) == Placed(
        zone_id=ZONE_B, vswitches={"eth0": C}
    )


def test_all_networks_are_in_one_zone():
    found = placed(network(A, C), network(C, interface="eth1"), zone=None)

    assert found.zone_id == ZONE_B


def test_why_there_is_none_is_said_of_each_vswitch():
    known = {A: supply(A, ZONE_A, 0), C: KNOWN[C]}

    found = placed(network(A, B, C), known=known)

    assert isinstance(found, NoPlace)
    assert "vsw-a has no free address" in found.reason
    assert "vsw-b is not known to the cloud" in found.reason
    assert "vsw-c is in zone zone-b, the pod in zone-a" in found.reason


def test_ipv6_needs_a_vswitch_with_a_range_of_it():
    found = placed(network(C), zone=ZONE_B, v6=True)

    assert "has no IPv6 range" in found.reason
