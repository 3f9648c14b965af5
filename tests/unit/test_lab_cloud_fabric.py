"""What the fabric is told: ports, device names, routes and security groups."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest

from terway.lab.cloud.fabric_view import FabricHabits
from terway.lab.vpc.state import Direction, RouteEntry, SecurityGroupRule
from tests.support.cloud_world import VPC, make_world


@pytest.fixture
def world():
    return make_world()


def attached(world):
    eni_id = world.create_eni()
    world.attach(eni_id)
    world.pass_time()
    return eni_id


def names(world):
    return {port.eni_id: port.ifname for port in world.cloud.vpc_state().ports}


def detach(world, eni_id):
    world.call("DetachNetworkInterface", NetworkInterfaceId=eni_id, InstanceId=world.instance_id)


def test_the_primary_eni_is_eth0(world):
    (port,) = world.cloud.vpc_state().ports

    assert port.ifname == "eth0"
    assert port.mac == world.instance.mac
    assert port.ipv4 == (world.instance.ipv4,)
    assert port.ipv6 == (world.instance.ipv6,)
    assert port.instance_id == world.instance_id
    assert port.security_group_ids == (world.group,)


def test_a_port_is_there_from_in_use_until_detached(world):
    eni_id = world.create_eni()
    world.attach(eni_id)
    assert eni_id not in names(world)
    world.pass_time()
    assert names(world)[eni_id] == "eth1"

    detach(world, eni_id)

    assert eni_id in names(world)
    world.pass_time()
    assert eni_id not in names(world)


def test_device_names_are_kept_and_gaps_are_filled(world):
    first, second = attached(world), attached(world)
    detach(world, first)
    world.pass_time()

    third = attached(world)

    assert names(world) == {
        world.instance.primary_eni_id: "eth0",
        second: "eth2",
        third: "eth1",
    }


def test_an_instance_takes_its_ports_with_it(world):
    attached(world)

    world.call("DeleteInstance", InstanceId=world.instance_id, Force="true")

    assert world.cloud.vpc_state().ports == ()


def test_an_eni_that_is_not_released_outlives_its_instance(world):
    eni_id = world.create_eni(DeleteOnRelease="false")
    world.attach(eni_id)
    world.pass_time()

    world.call("DeleteInstance", InstanceId=world.instance_id, Force="true")

    assert world.eni(eni_id)["Status"] == "Available"
    assert world.eni(eni_id)["InstanceId"] == ""


def test_the_source_check_follows_the_eni(world):
    eni_id = attached(world)

    world.call(
        "ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni_id, SourceDestCheck="false"
    )

    assert [port.source_check for port in world.cloud.vpc_state().ports] == [True, False]


def test_routes_lead_to_the_primary_eni_of_an_instance_or_to_an_eni(world):
    eni_id = attached(world)
    (table,) = world.call("DescribeRouteTableList", version=VPC)["RouterTableList"][
        "RouterTableListType"
    ]
    for destination, kind, hop in (
        ("10.244.0.0/24", "Instance", world.instance_id),
        ("fd00::/64", "NetworkInterface", eni_id),
    ):
        world.call(
            "CreateRouteEntry",
            version=VPC,
            RouteTableId=table["RouteTableId"],
            DestinationCidrBlock=destination,
            NextHopType=kind,
            NextHopId=hop,
        )

    assert world.cloud.vpc_state().routes == (
        RouteEntry(
            vpc_id=world.vpc_id,
            destination=ip_network("10.244.0.0/24"),
            next_hop=world.instance.primary_eni_id,
        ),
        RouteEntry(vpc_id=world.vpc_id, destination=ip_network("fd00::/64"), next_hop=eni_id),
    )


def test_rules_are_numbers_for_the_fabric(world):
    peer = world.call("CreateSecurityGroup", VpcId=world.vpc_id)["SecurityGroupId"]
    world.call(
        "AuthorizeSecurityGroup",
        SecurityGroupId=world.group,
        **{
            "Permissions.1.IpProtocol": "tcp",
            "Permissions.1.PortRange": "80/443",
            "Permissions.1.SourceCidrIp": "10.0.0.0/8",
            "Permissions.1.Priority": "7",
            "Permissions.2.IpProtocol": "all",
            "Permissions.2.SourceGroupId": peer,
            "Permissions.2.Policy": "drop",
        },
    )

    group = next(g for g in world.cloud.vpc_state().security_groups if g.id == world.group)

    assert group.inner_access
    assert not group.is_enterprise
    assert group.rules == (
        SecurityGroupRule(
            direction=Direction.INGRESS,
            accept=True,
            priority=7,
            peer=ip_network("10.0.0.0/8"),
            protocol=6,
            ports=(80, 443),
        ),
        SecurityGroupRule(direction=Direction.INGRESS, accept=False, priority=1, peer=peer),
    )


def test_habits_of_the_fabric_are_passed_on():
    services = (IPv4Address("100.100.100.200"),)
    world = make_world(habits=FabricHabits(mtu_bytes=8500, services=services))

    state = world.cloud.vpc_state()

    assert state.ports[0].mtu_bytes == 8500
    assert state.services == services
    assert len(state.vswitches) == 2
