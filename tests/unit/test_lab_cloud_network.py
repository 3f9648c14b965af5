"""What the emulated cloud accepts and refuses of VPCs, vSwitches, routes, groups and instances."""

from __future__ import annotations

import pytest

from tests.support.cloud_world import VPC, make_world


@pytest.fixture
def world():
    return make_world()


@pytest.mark.parametrize(
    ("cidr", "code"),
    [
        ("10.0.0.0/8", ""),
        ("172.16.0.0/12", ""),
        ("192.168.0.0/28", ""),
        ("10.0.0.0/7", "InvalidCidrBlock.Malformed"),
        ("10.0.0.0/29", "InvalidCidrBlock.Malformed"),
        ("100.64.0.0/16", "InvalidCidrBlock.Malformed"),
        ("169.254.0.0/16", "InvalidCidrBlock.Malformed"),
        ("10.0.0.1/8", "InvalidParameter"),
    ],
)
def test_the_range_of_a_vpc(world, cidr, code):
    answer = world.call("CreateVpc", version=VPC, CidrBlock=cidr)

    assert answer.get("Code", "") == code


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, ""),
        ({"CidrBlock": "192.168.0.0/24"}, "InvalidCidrBlock.Overlapped"),
        ({"CidrBlock": "10.0.0.0/24"}, "InvalidParameter"),
        ({"CidrBlock": "192.168.128.0/30"}, "InvalidCidrBlock.Malformed"),
        ({"Ipv6CidrBlock": "1"}, "InvalidIpv6CidrBlock.Overlapped"),
        ({"Ipv6CidrBlock": "256"}, "InvalidParameter"),
        ({"ZoneId": "cn-beijing-a"}, "InvalidZoneId.NotFound"),
        ({"VpcId": "vpc-x"}, "InvalidVpcId.NotFound"),
    ],
)
def test_the_range_of_a_vswitch(world, parameters, code):
    wanted = {
        "VpcId": world.vpc_id,
        "ZoneId": "cn-hangzhou-i",
        "CidrBlock": "192.168.128.0/24",
        **parameters,
    }

    assert world.call("CreateVSwitch", version=VPC, **wanted).get("Code", "") == code


def test_what_is_in_use_cannot_be_deleted(world):
    vpc = world.call("DeleteVpc", version=VPC, VpcId=world.vpc_id)
    vswitch = world.call("DeleteVSwitch", version=VPC, VSwitchId=world.node_vswitch)
    group = world.call("DeleteSecurityGroup", SecurityGroupId=world.group)

    assert vpc["Code"] == "DependencyViolation.VSwitch"
    assert vswitch["Code"] == "DependencyViolation.NetworkInterface"
    assert group["Code"] == "DependencyViolation"


def test_a_group_that_a_rule_names_cannot_be_deleted(world):
    named = world.call("CreateSecurityGroup", VpcId=world.vpc_id)["SecurityGroupId"]
    world.call(
        "AuthorizeSecurityGroup",
        SecurityGroupId=world.group,
        IpProtocol="ALL",
        SourceGroupId=named,
    )

    refused = world.call("DeleteSecurityGroup", SecurityGroupId=named)

    assert refused["Code"] == "DependencyViolation"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({}, ""),
        ({"IpProtocol": "SCTP"}, "InvalidIpProtocol.ValueNotSupported"),
        ({"PortRange": "80"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "90/80"}, "InvalidIpPortRange.Malformed"),
        ({"PortRange": "1/65536"}, "InvalidIpPortRange.Malformed"),
        ({"IpProtocol": "ICMP"}, "OperationDenied"),
        ({"Policy": "maybe"}, "InvalidPolicy.Malformed"),
        ({"Priority": "0"}, "InvalidPriority.ValueNotSupported"),
        ({"SourceCidrIp": ""}, "MissingParameter"),
        ({"SourceCidrIp": "10.0.0.0/33"}, "InvalidSourceCidrIp.Malformed"),
        ({"SourceCidrIp": "::/0"}, "InvalidSourceCidrIp.Malformed"),
        ({"Ipv6SourceCidrIp": "::/0"}, "MissingParameter"),
        ({"DestCidrIp": "10.0.0.0/8"}, "UnsupportedParameter"),
        ({"SourceCidrIp": "", "SourceGroupId": "sg-x"}, "InvalidSourceGroupId.NotFound"),
    ],
)
def test_what_a_rule_may_say(world, rule, code):
    wanted = {"IpProtocol": "TCP", "PortRange": "80/80", "SourceCidrIp": "10.0.0.0/8", **rule}

    answer = world.call("AuthorizeSecurityGroup", SecurityGroupId=world.group, **wanted)

    assert answer.get("Code", "") == code


def test_a_rule_is_there_once_and_revoking_nothing_succeeds(world):
    rule = {"IpProtocol": "TCP", "PortRange": "80/80", "SourceCidrIp": "10.0.0.0/8"}
    group = {"SecurityGroupId": world.group}

    for _ in range(2):
        world.call("AuthorizeSecurityGroup", **group, **rule)
    shown = world.call("DescribeSecurityGroupAttribute", **group)
    assert len(shown["Permissions"]["Permission"]) == 1
    for _ in range(2):
        assert "Code" not in world.call("RevokeSecurityGroup", **group, **rule)
    shown = world.call("DescribeSecurityGroupAttribute", **group)
    assert shown["Permissions"]["Permission"] == []


def route(world, **more):
    tables = world.call("DescribeRouteTableList", version=VPC)["RouterTableList"]
    wanted = {
        "RouteTableId": tables["RouterTableListType"][0]["RouteTableId"],
        "DestinationCidrBlock": "10.244.0.0/24",
        "NextHopType": "Instance",
        "NextHopId": world.instance_id,
        **more,
    }
    return world.call("CreateRouteEntry", version=VPC, **wanted)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, ""),
        ({"RouteTableId": "vtb-x"}, "InvalidRouteTableId.NotFound"),
        ({"NextHopId": "i-x"}, "InvalidNextHopId.NotFound"),
        ({"NextHopType": "NatGateway"}, "UnsupportedParameter"),
        ({"DestinationCidrBlock": "192.168.0.0/24"}, "RouterEntryConflict.Duplicated"),
        ({"DestinationCidrBlock": "10.0.0.0/33"}, "InvalidCidrBlock.Malformed"),
    ],
)
def test_what_a_route_may_say(world, parameters, code):
    assert route(world, **parameters).get("Code", "") == code


def test_a_destination_has_one_route(world):
    route(world)

    assert route(world)["Code"] == "RouterEntryConflict.Duplicated"


def test_the_systems_routes_are_shown(world):
    entry = route(world)
    tables = world.call("DescribeRouteTableList", version=VPC)["RouterTableList"]
    table_id = tables["RouterTableListType"][0]["RouteTableId"]

    listed = world.call("DescribeRouteEntryList", version=VPC, RouteTableId=table_id)

    shown = listed["RouteEntrys"]["RouteEntry"]
    assert [e["Type"] for e in shown] == ["System"] * 5 + ["Custom"]
    assert shown[-1]["RouteEntryId"] == entry["RouteEntryId"]


def run(world, **more):
    wanted = {
        "ImageId": "aliyun_3",
        "InstanceType": "ecs.g7.xlarge",
        "VSwitchId": world.node_vswitch,
        "SecurityGroupId": world.group,
        **more,
    }
    return world.call("RunInstances", **wanted)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Amount": "3"}, ""),
        ({"Amount": "0"}, "InvalidParam.Amount"),
        ({"InstanceType": "ecs.no.such"}, "InvalidInstanceType.ValueNotSupported"),
        ({"InstanceType": "ecs.c4.xlarge"}, "InvalidOperation.Ipv4NotSupport"),
        ({"ZoneId": "cn-hangzhou-h"}, "InvalidParameter"),
        ({"HttpTokens": "maybe"}, "InvalidParameter"),
        ({"SystemDisk.Size": "40"}, "UnsupportedParameter"),
    ],
)
def test_what_can_be_run(world, parameters, code):
    assert run(world, **parameters).get("Code", "") == code


def test_instances_that_do_not_all_fit_are_not_made_at_all(world):
    small = world.call(
        "CreateVSwitch",
        version=VPC,
        VpcId=world.vpc_id,
        ZoneId="cn-hangzhou-i",
        CidrBlock="192.168.255.0/29",
    )["VSwitchId"]

    refused = run(world, VSwitchId=small, Amount="5")

    assert refused["Code"] == "InvalidVSwitchId.IpNotEnough"
    assert world.call("DescribeInstances")["TotalCount"] == 1
    assert world.call("DescribeNetworkInterfaces", VSwitchId=small)["TotalCount"] == 0
    assert "Code" not in run(world, VSwitchId=small, Amount="4")


def test_a_running_instance_is_stopped_before_it_is_deleted(world):
    named = {"InstanceId": world.instance_id}

    assert world.call("DeleteInstance", **named)["Code"] == "IncorrectInstanceStatus"
    world.call("StopInstance", **named)
    assert world.call("StopInstance", **named)["Code"] == "IncorrectInstanceStatus"
    world.pass_time()
    assert "Code" not in world.call("DeleteInstance", **named)


def test_a_protected_instance_is_not_deleted(world):
    answer = run(world, DeletionProtection="true")
    (instance_id,) = answer["InstanceIdSets"]["InstanceIdSet"]

    refused = world.call("DeleteInstance", InstanceId=instance_id, Force="true")

    assert refused["Code"] == "InvalidOperation.DeletionProtection"


def test_enis_are_not_attached_to_an_instance_that_is_starting(world):
    answer = run(world)
    (instance_id,) = answer["InstanceIdSets"]["InstanceIdSet"]

    refused = world.call(
        "AttachNetworkInterface",
        NetworkInterfaceId=world.create_eni(),
        InstanceId=instance_id,
    )

    assert refused["Code"] == "InvalidOperation.InvalidEcsState"
