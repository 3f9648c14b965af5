"""What the emulated cloud does with ENIs and their addresses, and what it refuses."""

from __future__ import annotations

import pytest

from terway.lab.cloud.instance_types import InstanceType, read_catalogue
from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import VPC, make_world


@pytest.fixture
def world():
    return make_world()


def addresses(eni):
    return [ip["PrivateIpAddress"] for ip in eni["PrivateIpSets"]["PrivateIpSet"]]


def add_small_vswitch(world, cidr="192.168.255.0/29", **more):
    wanted = {"VpcId": world.vpc_id, "ZoneId": "cn-hangzhou-i", "CidrBlock": cidr, **more}
    return world.call("CreateVSwitch", version=VPC, **wanted)["VSwitchId"]


def test_an_eni_is_attached_after_its_delay(world):
    eni_id = world.create_eni()

    world.attach(eni_id)

    assert world.eni(eni_id)["Status"] == "Attaching"
    world.pass_time(0.5)
    assert world.eni(eni_id)["Status"] == "Attaching"
    world.pass_time(0.5)
    assert world.eni(eni_id)["Status"] == "InUse"
    assert world.eni(eni_id)["InstanceId"] == world.instance_id


def test_an_eni_that_is_not_available_cannot_be_attached_or_deleted(world):
    eni_id = world.create_eni()
    world.attach(eni_id)

    assert world.attach(eni_id)["Code"] == "InvalidOperation.InvalidEniState"
    refused = world.call("DeleteNetworkInterface", NetworkInterfaceId=eni_id)
    assert refused["Code"] == "InvalidOperation.InvalidEniState"


def test_an_eni_being_attached_cannot_get_or_lose_addresses(world):
    eni_id = world.create_eni()
    world.attach(eni_id)

    refused = world.call(
        "AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount="1"
    )

    assert refused["Code"] == "InvalidOperation.InvalidEniState"


def test_the_primary_eni_cannot_be_detached(world):
    refused = world.call(
        "DetachNetworkInterface",
        NetworkInterfaceId=world.instance.primary_eni_id,
        InstanceId=world.instance_id,
    )

    assert refused["Code"] == "InvalidOperation.DetachPrimaryEniNotAllowed"


def test_an_eni_of_another_zone_cannot_be_attached(world):
    vswitch = add_small_vswitch(world, ZoneId="cn-hangzhou-h")
    eni_id = world.create_eni(VSwitchId=vswitch)

    assert world.attach(eni_id)["Code"] == "InvalidOperation.AvailabilityZoneMismatch"


def test_an_eni_of_another_vpc_cannot_be_attached(world):
    vpc_id = world.call("CreateVpc", version=VPC, CidrBlock="10.0.0.0/8")["VpcId"]
    vswitch = add_small_vswitch(world, "10.0.0.0/24", VpcId=vpc_id)
    group = world.call("CreateSecurityGroup", VpcId=vpc_id)["SecurityGroupId"]
    eni_id = world.create_eni(VSwitchId=vswitch, SecurityGroupId=group)

    assert world.attach(eni_id)["Code"] == "InvalidOperation.VpcMismatch"


def test_an_instance_has_at_most_the_enis_of_its_type(world):
    for _ in range(3):
        world.attach(world.create_eni())  # attaching ones count

    assert world.attach(world.create_eni())["Code"] == "EniPerInstanceLimitExceeded"


def test_an_eni_with_too_many_addresses_cannot_be_attached(world):
    eni_id = world.create_eni(SecondaryPrivateIpAddressCount="15")

    assert world.attach(eni_id)["Code"] == "InvalidOperation.Ipv4CountExceeded"


def test_addresses_are_limited_by_the_instance_type(world):
    eni_id = world.create_eni(Ipv6AddressCount="10")
    world.attach(eni_id)
    world.pass_time()

    def assign(action, count, name):
        return world.call(action, NetworkInterfaceId=eni_id, **{name: str(count)})

    v4 = ("AssignPrivateIpAddresses", "SecondaryPrivateIpAddressCount")
    assert "Code" not in assign(v4[0], 14, v4[1])
    assert assign(v4[0], 1, v4[1])["Code"] == "InvalidOperation.Ipv4CountExceeded"
    v6 = ("AssignIpv6Addresses", "Ipv6AddressCount")
    assert assign(v6[0], 6, v6[1])["Code"] == "InvalidOperation.Ipv6CountExceeded"
    assert assign(v6[0], 11, v6[1])["Code"] == "InvalidParameter"
    assert "Code" not in assign(v6[0], 5, v6[1])


def test_a_detached_eni_has_at_most_fifty_addresses(world):
    eni_id = world.create_eni(SecondaryPrivateIpAddressCount="49")

    refused = world.call(
        "AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount="1"
    )

    assert refused["Code"] == "InvalidOperation.Ipv4CountExceeded"


def test_what_no_source_says_is_refused_and_not_guessed():
    kind = InstanceType(id="ecs.x.y", cpu_core_count=2, memory_gib=4.0, eni_quantity=2,
                        eni_private_ip_address_quantity=6)  # fmt: skip
    types = read_catalogue([kind])
    world = make_world(types=types)
    plain = world.call(
        "RunInstances",
        ImageId="i",
        InstanceType="ecs.x.y",
        VSwitchId=world.node_vswitch,
        SecurityGroupId=world.group,
    )
    dual = world.call(
        "RunInstances",
        ImageId="i",
        InstanceType="ecs.x.y",
        VSwitchId=world.node_vswitch,
        SecurityGroupId=world.group,
        Ipv6AddressCount="1",
    )

    assert "Code" not in plain
    assert dual["Code"] == "InvalidOperation.Ipv6NotSupport"
    assert "No source gives" in dual["Message"]


def test_a_vswitch_gives_what_it_has_and_reserves_four(world):
    small = add_small_vswitch(world)

    eni_id = world.create_eni(VSwitchId=small, SecondaryPrivateIpAddressCount="3")

    assert addresses(world.eni(eni_id)) == [f"192.168.255.{n}" for n in (1, 2, 3, 4)]
    full = world.call("CreateNetworkInterface", VSwitchId=small, SecurityGroupId=world.group)
    assert full["Code"] == "InvalidVSwitchId.IpNotEnough"


def test_a_released_address_is_given_again_last(world):
    small = add_small_vswitch(world)
    eni_id = world.create_eni(VSwitchId=small, SecondaryPrivateIpAddressCount="1")
    world.call(
        "UnassignPrivateIpAddresses",
        NetworkInterfaceId=eni_id,
        **{"PrivateIpAddress.1": "192.168.255.2"},
    )

    given = world.call(
        "AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount="3"
    )

    assert given["AssignedPrivateIpAddressesSet"]["PrivateIpSet"]["PrivateIpAddress"] == [
        "192.168.255.3",
        "192.168.255.4",
        "192.168.255.2",
    ]


def test_the_addresses_of_a_deleting_eni_are_taken_until_it_is_gone(world):
    small = add_small_vswitch(world)
    eni_id = world.create_eni(VSwitchId=small, SecondaryPrivateIpAddressCount="3")
    world.call("DeleteNetworkInterface", NetworkInterfaceId=eni_id)
    wanted = {"VSwitchId": small, "SecurityGroupId": world.group}

    assert world.call("CreateNetworkInterface", **wanted)["Code"] == "InvalidVSwitchId.IpNotEnough"
    world.pass_time()
    assert "Code" not in world.call("CreateNetworkInterface", **wanted)


def test_assigned_addresses_may_take_a_while():
    world = make_world(delays=Delays(assign_s=2.0))
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time()

    world.call(
        "AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount="2"
    )

    assert len(addresses(world.eni(eni_id))) == 1
    assert len(world.cloud.vpc_state().ports[-1].ipv4) == 1
    world.pass_time(2.0)
    assert len(addresses(world.eni(eni_id))) == 3
    assert len(world.cloud.vpc_state().ports[-1].ipv4) == 3


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("192.168.32.0", "InvalidVSwitchId.IpInvalid"),
        ("192.168.63.253", "InvalidVSwitchId.IpInvalid"),
        ("10.0.0.1", "InvalidVSwitchId.IpInvalid"),
        ("nonsense", "InvalidParameter"),
        ("192.168.32.9", ""),
    ],
)
def test_a_named_address_must_be_one_that_can_be_given(world, address, code):
    answer = world.call(
        "CreateNetworkInterface",
        VSwitchId=world.pod_vswitch,
        SecurityGroupId=world.group,
        PrimaryIpAddress=address,
    )

    assert answer.get("Code", "") == code


def test_a_named_address_is_given_once(world):
    wanted = {"VSwitchId": world.pod_vswitch, "SecurityGroupId": world.group}
    world.call("CreateNetworkInterface", PrimaryIpAddress="192.168.32.9", **wanted)

    again = world.call("CreateNetworkInterface", PrimaryIpAddress="192.168.32.9", **wanted)

    assert again["Code"] == "InvalidIp.IpAssigned"


def test_unassign_takes_all_or_nothing_and_never_the_primary(world):
    eni_id = world.create_eni(SecondaryPrivateIpAddressCount="1")
    primary, second = addresses(world.eni(eni_id))

    def unassign(*wanted):
        named = {f"PrivateIpAddress.{n}": ip for n, ip in enumerate(wanted, 1)}
        return world.call("UnassignPrivateIpAddresses", NetworkInterfaceId=eni_id, **named)

    assert unassign(second, "192.168.32.200")["Code"] == "InvalidIp.IpUnassigned"
    assert unassign(primary)["Code"] == "InvalidIp.IpUnassigned"
    assert unassign(second, second)["Code"] == "InvalidIp.IpRepeated"
    assert addresses(world.eni(eni_id)) == [primary, second]


def test_ipv6_needs_a_vswitch_with_ipv6(world):
    eni_id = world.create_eni(VSwitchId=add_small_vswitch(world))

    refused = world.call("AssignIpv6Addresses", NetworkInterfaceId=eni_id, Ipv6AddressCount="1")

    assert refused["Code"] == "InvalidVSwitch.Ipv6NotTurnOn"


def test_an_eni_is_in_at_most_ten_security_groups(world):
    groups = [
        world.call("CreateSecurityGroup", VpcId=world.vpc_id)["SecurityGroupId"] for _ in range(11)
    ]
    named = {f"SecurityGroupIds.{n}": group for n, group in enumerate(groups, 1)}

    refused = world.call("CreateNetworkInterface", VSwitchId=world.pod_vswitch, **named)

    assert refused["Code"] == "SecurityGroupInstanceLimitExceed"


@pytest.mark.parametrize(
    ("parameters", "code", "name"),
    [
        ({"Colour": "blue"}, "UnsupportedParameter", "Colour"),
        ({"Ipv4PrefixCount": "11"}, "InvalidParameter", "Ipv4PrefixCount"),
        ({"InstanceType": "Bridge"}, "UnsupportedParameter", "Bridge"),
        ({"Tag.1.Colour": "blue"}, "UnsupportedParameter", "Tag.N.Colour"),
        ({"Ipv6AddressCount": "many"}, "InvalidParameter", "Ipv6AddressCount"),
        ({"Ipv6AddressCount": "11"}, "InvalidParameter", "Ipv6AddressCount"),
        ({"Tag.1.Key": "a", "Tag.2.Key": "a"}, "Duplicate.TagKey", "Tag"),
        ({"VSwitchId": "vsw-x"}, "InvalidVSwitchId.NotFound", "vsw-x"),
        ({"SecurityGroupId": "sg-x"}, "InvalidSecurityGroupId.NotFound", "sg-x"),
        ({"SecurityGroupIds.1": "sg-x"}, "InvalidParameter.Conflict", "SecurityGroupIds"),
        ({"RegionId": "cn-beijing"}, "InvalidRegionId.NotFound", "cn-beijing"),
        ({"ClientToken": "x" * 65}, "InvalidParameter", "ClientToken"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_by_name(world, parameters, code, name):
    wanted = {"VSwitchId": world.pod_vswitch, "SecurityGroupId": world.group, **parameters}

    refused = world.call("CreateNetworkInterface", **wanted)

    assert refused["Code"] == code
    assert name in refused["Message"]


def test_a_missing_parameter_is_named(world):
    refused = world.call("CreateNetworkInterface", SecurityGroupId=world.group)

    assert refused["Code"] == "MissingParameter.VSwitchId"


def test_switches_are_understood_in_any_spelling(world):
    for text, value in (("True", True), ("true", True), ("False", False), ("false", False)):
        eni_id = world.create_eni(DeleteOnRelease=text)

        assert world.eni(eni_id)["DeleteOnRelease"] is value


def test_enis_are_paged_by_number(world):
    for _ in range(12):
        world.create_eni()

    first = world.call("DescribeNetworkInterfaces", PageSize="10")
    second = world.call("DescribeNetworkInterfaces", PageSize="10", PageNumber="2")

    assert first["TotalCount"] == 13
    assert len(first["NetworkInterfaceSets"]["NetworkInterfaceSet"]) == 10
    assert len(second["NetworkInterfaceSets"]["NetworkInterfaceSet"]) == 3


def test_a_page_by_token_goes_on_behind_the_last_even_if_that_is_gone(world):
    ids = [world.create_eni() for _ in range(15)]
    first = world.call("DescribeNetworkInterfaces", MaxResults="10", Type="Secondary")
    world.call("DeleteNetworkInterface", NetworkInterfaceId=ids[9])
    world.pass_time()

    second = world.call(
        "DescribeNetworkInterfaces",
        MaxResults="10",
        Type="Secondary",
        NextToken=first["NextToken"],
    )

    shown = [eni["NetworkInterfaceId"] for eni in second["NetworkInterfaceSets"][
        "NetworkInterfaceSet"]]  # fmt: skip
    assert shown == ids[10:]
    assert second["NextToken"] == ""


def test_a_foreign_token_is_refused(world):
    refused = world.call("DescribeNetworkInterfaces", NextToken="page two")

    assert refused["Code"] == "InvalidParameter"
