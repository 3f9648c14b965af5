"""Trunks and their members in the emulated cloud: what becomes what, and what is refused."""

from __future__ import annotations

import pytest

from terway.lab.cloud.instance_types import InstanceType, read_catalogue
from terway.lab.cloud.metadata_view import metadata_leaves
from tests.support.cloud_world import VPC, make_world

FEW_MEMBERS = InstanceType(
    id="ecs.test.few",
    cpu_core_count=4,
    memory_gib=16,
    eni_quantity=4,
    eni_private_ip_address_quantity=10,
    eni_ipv6_address_quantity=10,
    eni_trunk_supported=True,
    eni_total_quantity=6,
)


def make_trunk(world):
    """A trunk that is InUse on the instance."""
    trunk_id = world.create_eni(InstanceType="Trunk")
    world.attach(trunk_id)
    world.pass_time()
    return trunk_id


def to_member(world, trunk_id, eni_id, **more):
    """Begin to make an ENI a member."""
    named = {"NetworkInterfaceId": eni_id, "InstanceId": world.instance_id, **more}
    return world.call("AttachNetworkInterface", TrunkNetworkInstanceId=trunk_id, **named)


def make_member(world, trunk_id, **more):
    eni_id = world.create_eni(**more)
    assert "Code" not in to_member(world, trunk_id, eni_id)
    world.pass_time()
    return eni_id


def detach(world, eni_id, **more):
    named = {"NetworkInterfaceId": eni_id, "InstanceId": world.instance_id, **more}
    return world.call("DetachNetworkInterface", **named)


@pytest.fixture
def world():
    return make_world()


def test_a_member_shows_its_trunk_and_its_vlan_id_from_the_moment_it_is_being_attached(world):
    trunk_id = make_trunk(world)
    eni_id = world.create_eni()

    to_member(world, trunk_id, eni_id)

    shown = world.eni(eni_id)
    assert (shown["Type"], shown["Status"]) == ("Member", "Attaching")
    assert shown["Attachment"] == {
        "InstanceId": world.instance_id,
        "TrunkNetworkInterfaceId": trunk_id,
        "DeviceIndex": 1,
    }
    world.pass_time()
    assert world.eni(eni_id)["Status"] == "InUse"


def test_members_have_vlan_ids_of_their_own_and_a_free_one_is_given_again(world):
    trunk_id = make_trunk(world)
    first, second = (make_member(world, trunk_id) for _ in range(2))
    assert [world.eni(one)["Attachment"]["DeviceIndex"] for one in (first, second)] == [1, 2]

    detach(world, first, TrunkNetworkInstanceId=trunk_id)
    world.pass_time()

    assert world.eni(make_member(world, trunk_id))["Attachment"]["DeviceIndex"] == 1


def test_a_detached_member_keeps_mac_and_addresses_and_is_an_eni_like_any_other(world):
    trunk_id = make_trunk(world)
    eni_id = make_member(world, trunk_id, SecondaryPrivateIpAddressCount="2", Ipv6AddressCount="1")
    before = world.eni(eni_id)

    detach(world, eni_id, TrunkNetworkInstanceId=trunk_id)

    assert world.eni(eni_id)["Status"] == "Detaching"
    world.pass_time()
    after = world.eni(eni_id)
    assert (after["Type"], after["Status"]) == ("Secondary", "Available")
    assert after["Attachment"] == {}
    kept = ("MacAddress", "PrivateIpSets", "Ipv6Sets", "SecurityGroupIds", "Tags")
    assert [after[name] for name in kept] == [before[name] for name in kept]


def test_a_member_is_no_device_of_the_instance_and_takes_no_room_of_one():
    world = make_world(types=read_catalogue([FEW_MEMBERS]), instance_type=FEW_MEMBERS.id)
    trunk_id = make_trunk(world)
    make_member(world, trunk_id)

    for _ in range(2):  # beside the primary and the trunk
        assert "Code" not in world.attach(world.create_eni())
        world.pass_time()
    assert world.attach(world.create_eni())["Code"] == "EniPerInstanceLimitExceeded"


def test_there_are_as_many_members_as_the_type_has_beyond_its_devices():
    world = make_world(types=read_catalogue([FEW_MEMBERS]), instance_type=FEW_MEMBERS.id)
    trunk_id = make_trunk(world)
    for _ in range(2):  # EniTotalQuantity - EniQuantity
        make_member(world, trunk_id)

    refused = to_member(world, trunk_id, world.create_eni())

    assert refused["Code"] == "EniPerInstanceLimitExceeded"


def test_an_instance_has_one_trunk(world):
    make_trunk(world)

    refused = world.attach(world.create_eni(InstanceType="Trunk"))

    assert refused["Code"] == "EniPerInstanceLimitExceeded"


def test_a_type_without_trunks_refuses_them_and_an_unknown_one_is_named():
    without = make_world(instance_type="ecs.s6-c1m2.16xlarge")
    unknown = make_world(instance_type="ecs.g6.xlarge")

    refused = without.attach(without.create_eni(InstanceType="Trunk"))
    assert refused["Code"] == "InvalidOperation.InstanceTypeNotSupport"
    refused = unknown.attach(unknown.create_eni(InstanceType="Trunk"))
    assert refused["Code"] == "UnsupportedParameter"
    assert "EniTrunkSupported of ecs.g6.xlarge" in refused["Message"]


def test_a_trunk_with_members_can_neither_be_detached_nor_deleted(world):
    trunk_id = make_trunk(world)
    eni_id = make_member(world, trunk_id)

    assert detach(world, trunk_id)["Code"] == "InvalidOperation.InvalidEniState"
    deleted = world.call("DeleteNetworkInterface", NetworkInterfaceId=trunk_id)
    assert deleted["Code"] == "InvalidOperation.InvalidEniState"
    detach(world, eni_id, TrunkNetworkInstanceId=trunk_id)
    assert detach(world, trunk_id)["Code"] == "InvalidOperation.InvalidEniState"

    world.pass_time()
    assert "Code" not in detach(world, trunk_id)
    world.pass_time()
    assert world.eni(trunk_id)["Type"] == "Trunk"


def test_only_a_trunk_in_use_on_that_instance_takes_members(world):
    eni_id = world.create_eni()
    secondary, loose = world.create_eni(), world.create_eni(InstanceType="Trunk")

    assert to_member(world, secondary, eni_id)["Code"] == "InvalidOperation.InvalidEniType"
    assert to_member(world, loose, eni_id)["Code"] == "InvalidOperation.InvalidEniState"
    assert to_member(world, "eni-none", eni_id)["Code"] == "InvalidEniId.NotFound"


def test_a_trunk_cannot_be_a_member_and_a_member_not_one_again(world):
    trunk_id = make_trunk(world)
    member = make_member(world, trunk_id)

    other = world.create_eni(InstanceType="Trunk")
    assert to_member(world, trunk_id, other)["Code"] == "InvalidOperation.InvalidEniType"
    assert to_member(world, trunk_id, member)["Code"] == "InvalidOperation.InvalidEniState"


def test_a_member_of_another_zone_is_refused(world):
    trunk_id = make_trunk(world)
    wanted = {"VpcId": world.vpc_id, "ZoneId": "cn-hangzhou-h", "CidrBlock": "192.168.64.0/24"}
    vswitch = world.call("CreateVSwitch", version=VPC, **wanted)["VSwitchId"]

    refused = to_member(world, trunk_id, world.create_eni(VSwitchId=vswitch))

    assert refused["Code"] == "InvalidOperation.AvailabilityZoneMismatch"


def test_a_member_is_detached_by_the_name_of_its_trunk(world):
    trunk_id = make_trunk(world)
    eni_id = make_member(world, trunk_id)

    refused = detach(world, eni_id)
    assert refused["Code"] == "MissingParameter.TrunkNetworkInstanceId"
    refused = detach(world, eni_id, TrunkNetworkInstanceId="eni-other")
    assert refused["Code"] == "InvalidParameter"


def test_with_the_instance_go_the_members_that_are_released_and_others_are_available(world):
    trunk_id = make_trunk(world)
    gone = make_member(world, trunk_id)
    kept = make_member(world, trunk_id, DeleteOnRelease="false")
    mac = world.eni(kept)["MacAddress"]

    world.call("DeleteInstance", InstanceId=world.instance_id, Force="true")

    assert world.eni(gone)["Code"] == "InvalidEniId.NotFound"
    assert world.eni(trunk_id)["Code"] == "InvalidEniId.NotFound"
    shown = world.eni(kept)
    assert (shown["Type"], shown["Status"], shown["MacAddress"]) == ("Secondary", "Available", mac)


def test_lists_tell_trunks_and_members_apart_and_have_both_of_an_instance(world):
    trunk_id = make_trunk(world)
    tags = {"Tag.1.Key": "creator", "Tag.1.Value": "terway-controller"}
    member = make_member(world, trunk_id, **tags)

    def listed(**filters):
        answer = world.call("DescribeNetworkInterfaces", **filters)
        return {
            one["NetworkInterfaceId"]
            for one in answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        }

    assert listed(Type="Trunk") == {trunk_id}
    assert listed(Type="Member") == listed(**tags) == {member}
    assert listed(Type="Member", Status="InUse", VpcId=world.vpc_id) == {member}
    mine = {world.instance.primary_eni_id, trunk_id, member}
    assert listed(InstanceId=world.instance_id) == mine


def test_the_instance_sees_a_device_for_its_trunk_and_none_for_members(world):
    trunk_id = make_trunk(world)
    member = make_member(world, trunk_id)
    state = world.cloud.world.state
    instance = state.instances[world.instance_id]

    leaves = metadata_leaves(world.cloud.world, instance, state.enis)

    macs = {leaf.split("/")[3] for leaf in leaves if leaf.startswith("network/interfaces/macs/")}
    assert state.enis[trunk_id].mac in macs
    assert state.enis[member].mac not in macs


def test_the_fabric_has_a_member_on_its_trunks_link(world):
    trunk_id = make_trunk(world)
    member = make_member(world, trunk_id)

    ports = {port.eni_id: port for port in world.cloud.vpc_state().ports}

    assert ports[trunk_id].ifname == "eth1"
    found = ports[member]
    assert (found.ifname, found.trunk_id, found.vlan_id) == ("", trunk_id, 1)
    assert found.instance_id == world.instance_id
