"""Answers as the real cloud writes them, with all it adds and leaves out, become model values."""

from __future__ import annotations

import msgspec
import pytest

from terway.cloud import wire
from terway.model.eni import ENIStatus, ENIType
from terway.model.errors import TransientError

# The shape of the documentation's example of DescribeNetworkInterfaces, with a member ENI.
ANSWER = b"""{
 "TotalCount": 1, "PageSize": 10, "PageNumber": 1, "RequestId": "473469C7", "NextToken": "n2",
 "NetworkInterfaceSets": {"NetworkInterfaceSet": [{
  "Status": "InUse", "Type": "Member", "VpcId": "vpc-1", "VSwitchId": "vsw-1",
  "ZoneId": "cn-hangzhou-h", "NetworkInterfaceId": "eni-1", "NetworkInterfaceName": "",
  "MacAddress": "00:16:3E:0F:A0:01", "PrivateIpAddress": "172.17.0.9",
  "CreationTime": "2019-12-25T12:31:31Z", "OwnerId": "155", "ServiceID": 12, "ServiceManaged": true,
  "PrivateIpSets": {"PrivateIpSet": [
    {"PrivateIpAddress": "172.17.0.9", "Primary": true, "PrivateDnsName": "x",
     "AssociatedPublicIp": {}},
    {"PrivateIpAddress": "172.17.0.10", "Primary": false}]},
  "SecurityGroupIds": {"SecurityGroupId": ["sg-1", "sg-2"]},
  "Attachment": {"InstanceId": "i-1", "TrunkNetworkInterfaceId": "eni-t", "DeviceIndex": 7,
                 "MemberNetworkInterfaceIds": {"MemberNetworkInterfaceId": []}},
  "Ipv4PrefixSets": {"Ipv4PrefixSet": []}, "AssociatedPublicIp": {},
  "QueueNumber": 2, "Tags": {"Tag": [{"TagKey": "a", "TagValue": "b"}, {"TagKey": "c"}]}
 }]}}"""


def eni_of(answer):
    page = msgspec.json.decode(answer, type=wire.NetworkInterfacesPage)
    (said,) = page.network_interface_sets.network_interface_set
    return wire.parse_eni(said)


def test_a_described_eni_is_read_whole():
    eni = eni_of(ANSWER)

    assert eni.mac == "00:16:3e:0f:a0:01"
    assert (eni.type, eni.status) == (ENIType.MEMBER, ENIStatus.IN_USE)
    assert [str(ip) for ip in eni.ipv4] == ["172.17.0.9", "172.17.0.10"]
    assert eni.ipv6 == ()
    assert eni.security_group_ids == ("sg-1", "sg-2")
    assert (eni.instance_id, eni.trunk_eni_id, eni.device_index) == ("i-1", "eni-t", 7)
    assert eni.traffic_mode == "Standard"
    assert eni.tags == (("a", "b"), ("c", ""))
    assert eni.creation_time == "2019-12-25T12:31:31Z"


def test_a_bare_eni_has_its_primary_address_only():
    said = wire.NetworkInterface(
        network_interface_id="eni-1", mac_address="00:16:3e:00:00:01", private_ip_address="10.0.0.1"
    )

    eni = wire.parse_eni(said)

    assert eni.ipv4 == (eni.primary_ipv4,)
    assert eni.instance_id is None
    assert eni.trunk_eni_id is None
    assert eni.device_index is None


@pytest.mark.parametrize(("known", "unknown"), [(b"InUse", b"Dancing"), (b"Member", b"Guest")])
def test_a_state_that_did_not_exist_is_waited_out_and_not_guessed(known, unknown):
    with pytest.raises(TransientError, match=unknown.decode()):
        eni_of(ANSWER.replace(known, unknown))


def test_a_limit_that_the_cloud_does_not_state_is_zero():
    answer = b'{"InstanceTypes":{"InstanceType":[{"InstanceTypeId":"ecs.x","EniQuantity":3}]}}'
    page = msgspec.json.decode(answer, type=wire.InstanceTypesPage)

    limits = wire.parse_instance_limits(page.instance_types.instance_type[0])

    assert limits.eni_quantity == 3
    assert limits.eni_private_ip_address_quantity == 0
    assert not limits.eni_trunk_supported


def test_a_vswitch_without_ipv6_has_none():
    answer = b'{"VSwitches":{"VSwitch":[{"VSwitchId":"vsw-1","VpcId":"vpc-1","ZoneId":"z","CidrBlock":"10.0.0.0/24","Ipv6CidrBlock":"","AvailableIpAddressCount":252}]}}'  # noqa: E501
    page = msgspec.json.decode(answer, type=wire.VSwitchesPage)

    vswitch = wire.parse_vswitch(page.v_switches.v_switch[0])

    assert vswitch.ipv6_cidr is None
    assert vswitch.available_ip_count == 252
