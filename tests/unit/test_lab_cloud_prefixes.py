"""What the emulated cloud does with prefixes and with ENIs for RDMA, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from terway.lab.cloud.instance_types import read_catalogue
from tests.support.cloud_world import VPC, make_world

KIND = "ecs.g7.xlarge"


def eri_types(count):
    return read_catalogue([replace(read_catalogue()[KIND], eri_quantity=count)])


@pytest.fixture
def world():
    return make_world(types=eri_types(1))


def prefixes(eni):
    v4 = [one["Ipv4Prefix"] for one in eni["Ipv4PrefixSets"]["Ipv4PrefixSet"]]
    v6 = [one["Ipv6Prefix"] for one in eni["Ipv6PrefixSets"]["Ipv6PrefixSet"]]
    return [*map(IPv4Network, v4), *map(IPv6Network, v6)]


def test_an_eni_is_made_with_prefixes_which_are_routed_to_it(world):
    eni_id = world.create_eni(Ipv4PrefixCount="2", Ipv6PrefixCount="1")
    world.attach(eni_id)
    world.pass_time()

    found = prefixes(world.eni(eni_id))
    assert sorted(one.prefixlen for one in found) == [28, 28, 80]
    port = next(one for one in world.cloud.vpc_state().ports if one.eni_id == eni_id)
    assert list(port.prefixes) == found


def test_prefixes_come_and_go_one_by_one(world):
    eni_id = world.create_eni()
    world.call("AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, Ipv4PrefixCount="2")
    world.call("AssignIpv6Addresses", NetworkInterfaceId=eni_id, Ipv6PrefixCount="1")
    first, second, third = prefixes(world.eni(eni_id))

    world.call(
        "UnassignPrivateIpAddresses", NetworkInterfaceId=eni_id, **{"Ipv4Prefix.1": str(first)}
    )
    world.call("UnassignIpv6Addresses", NetworkInterfaceId=eni_id, **{"Ipv6Prefix.1": str(third)})

    assert prefixes(world.eni(eni_id)) == [second]
    gone = {"Ipv4Prefix.1": str(first)}
    refused = world.call("UnassignPrivateIpAddresses", NetworkInterfaceId=eni_id, **gone)
    assert refused["Code"] == "InvalidIp.IpUnassigned"


def test_a_prefix_takes_the_room_of_one_address_on_the_eni(world):
    limit = read_catalogue()[KIND].eni_private_ip_address_quantity
    assert limit is not None
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time()

    def assign(count):
        return world.call(
            "AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, Ipv4PrefixCount=str(count)
        )

    assert "Code" not in assign(min(10, limit - 1))
    assert assign(10)["Code"] == "InvalidOperation.Ipv4CountExceeded"


def test_a_prefix_takes_16_addresses_of_the_vswitch_and_none_that_has_an_owner(world):
    before = world.call("DescribeVSwitches", version=VPC, VSwitchId=world.pod_vswitch)
    eni_id = world.create_eni(Ipv4PrefixCount="1")
    after = world.call("DescribeVSwitches", version=VPC, VSwitchId=world.pod_vswitch)

    free = [one["VSwitches"]["VSwitch"][0]["AvailableIpAddressCount"] for one in (before, after)]
    assert free[0] - free[1] == 17
    (prefix,) = prefixes(world.eni(eni_id))
    refused = world.call(
        "CreateNetworkInterface",
        VSwitchId=world.pod_vswitch,
        SecurityGroupId=world.group,
        PrimaryIpAddress=str(prefix[3]),
    )
    assert refused["Code"] == "InvalidIp.IpAssigned"


def test_a_fragmented_vswitch_has_addresses_but_no_prefix():
    """bug class 10"""
    world = make_world(pod_cidr="192.168.32.0/26")
    for _ in range(3):  # an address in each of the ranges of 16
        world.create_eni(SecondaryPrivateIpAddressCount="14")

    refused = world.call(
        "CreateNetworkInterface",
        VSwitchId=world.pod_vswitch,
        SecurityGroupId=world.group,
        Ipv4PrefixCount="1",
    )

    assert refused["Code"] == "InvalidVSwitchId.IpNotEnough"
    assert world.create_eni()


@pytest.mark.parametrize(
    "mixture",
    [
        {"SecondaryPrivateIpAddressCount": "1", "Ipv4PrefixCount": "1"},
        {"Ipv6AddressCount": "1", "Ipv6PrefixCount": "1"},
    ],
)
def test_addresses_and_prefixes_of_a_family_are_not_made_together(world, mixture):
    refused = world.call(
        "CreateNetworkInterface",
        VSwitchId=world.pod_vswitch,
        SecurityGroupId=world.group,
        **mixture,
    )

    assert refused["Code"] == "InvalidParameter.Conflict"


def test_an_eni_for_rdma_counts_against_the_types_quantity(world):
    one, two = (world.create_eni(NetworkInterfaceTrafficMode="HighPerformance") for _ in range(2))

    assert "Code" not in world.attach(one)
    assert world.attach(two)["Code"] == "EniPerInstanceLimitExceeded"
    assert world.eni(one)["NetworkInterfaceTrafficMode"] == "HighPerformance"


def test_what_is_not_known_of_a_type_is_refused_by_name():
    world = make_world()
    eni_id = world.create_eni(NetworkInterfaceTrafficMode="HighPerformance")

    assert "EriQuantity" in world.attach(eni_id)["Message"]
