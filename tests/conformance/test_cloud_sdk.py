"""The vendor's official SDKs as clients of the emulated cloud: every action, real signatures."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time

import pytest
from alibabacloud_ecs20140526 import models as ecs_models
from alibabacloud_ecs20140526.client import Client as EcsSdk
from alibabacloud_tea_openapi import models as openapi_models
from alibabacloud_tea_openapi.client import Client as AnySdk
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_util.models import RuntimeOptions
from alibabacloud_vpc20160428 import models as vpc_models
from alibabacloud_vpc20160428.client import Client as VpcSdk

from terway.lab.cloud import products
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import REGION, serving

QUICK = Delays(attach_s=0.01, detach_s=0.01, delete_s=0.01, start_s=0.01, stop_s=0.01)
SDKS = {"ecs": (EcsSdk, ecs_models), "vpc": (VpcSdk, vpc_models)}
ZONE = "cn-hangzhou-i"


def snake(action):
    """Return the SDK's method of an action: CreateVSwitch is create_vswitch."""
    name = action.replace("VSwitches", "Vswitches").replace("VSwitch", "Vswitch")
    name = re.sub(r"Ipv6", "_ipv_6", name)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().replace("__", "_").replace("_6_", "_6")


class Sdk:
    """One product's SDK, called by the names of the API. `bodies` are the answers on the wire."""

    def __init__(self, product, config, bodies=()):
        client, self.models = SDKS[product]
        self.client = client(config)
        self.bodies = bodies

    async def __call__(self, action, **parameters):
        request = getattr(self.models, f"{action}Request")()
        request.from_map({"RegionId": REGION, **parameters})
        if action in ("DescribeInstanceTypes", "DescribeRegions"):
            request.region_id = None
        call = getattr(self.client, snake(action))
        answer = (await asyncio.to_thread(call, request)).body.to_map()
        if self.bodies:
            # Every field of the answer has a name, a place and a wrapper that the SDK knows.
            assert answer == json.loads(self.bodies[-1])
        return answer


class Session:
    """The SDKs with one key, and the cloud they talk to."""

    def __init__(self, cloud, url, key, bodies=()):
        self.cloud, self.url, self.key = cloud, url, key
        self.config = openapi_models.Config(
            access_key_id=key.id,
            access_key_secret=key.secret,
            security_token=key.security_token or None,
            endpoint=url.removeprefix("http://"),
            protocol="http",
            region_id=REGION,
        )
        self.ecs = Sdk("ecs", self.config, bodies)
        self.vpc = Sdk("vpc", self.config, bodies)

    async def until(self, holds):
        """Wait until `holds()`, looking after each change of the cloud."""
        changed = asyncio.Event()
        unsubscribe = self.cloud.subscribe(changed.set)
        async with asyncio.timeout(10):
            while not holds():
                changed.clear()
                await changed.wait()
        unsubscribe()

    async def until_eni(self, eni_id, status):
        enis = self.cloud.world.state.enis
        await self.until(lambda: (enis[eni_id].status.value if eni_id in enis else "") == status)

    async def until_instance(self, instance_id, status):
        instances = self.cloud.world.state.instances
        await self.until(lambda: instances[instance_id].status.value == status)


@pytest.fixture
def cloud():
    return Cloud(clock=time.time, delays=QUICK)


@pytest.fixture
async def sdk(cloud):
    bodies = []

    async def note(request, response):
        bodies.append(response.body)

    app = create_openapi_app(cloud)
    app.on_response_prepare.append(note)
    async with serving(app) as url:
        yield Session(cloud, url, cloud.world.keyring.create_key("sdk"), bodies)


async def make_network(sdk):
    """A VPC, a vSwitch and a security group, made through the SDKs."""
    vpc = await sdk.vpc("CreateVpc", CidrBlock="192.168.0.0/16", VpcName="lab", EnableIpv6=True)
    vswitch = await sdk.vpc(
        "CreateVSwitch",
        VpcId=vpc["VpcId"],
        ZoneId=ZONE,
        CidrBlock="192.168.0.0/19",
        Ipv6CidrBlock=7,
        VSwitchName="nodes",
    )
    group = await sdk.ecs(
        "CreateSecurityGroup", VpcId=vpc["VpcId"], SecurityGroupName="nodes", Description="d"
    )
    return vpc, vswitch["VSwitchId"], group["SecurityGroupId"]


async def run_instance(sdk, vswitch_id, group_id, **more):
    answer = await sdk.ecs(
        "RunInstances",
        ImageId="aliyun_3",
        InstanceType="ecs.g7.xlarge",
        VSwitchId=vswitch_id,
        SecurityGroupIds=[group_id],
        InstanceName="node-1",
        Ipv6AddressCount=1,
        **more,
    )
    (instance_id,) = answer["InstanceIdSets"]["InstanceIdSet"]
    await sdk.until_instance(instance_id, "Running")
    return instance_id


async def test_a_vpc_is_made_described_and_deleted(sdk):
    vpc, vswitch_id, group_id = await make_network(sdk)

    (shown,) = (await sdk.vpc("DescribeVpcs", VpcId=vpc["VpcId"]))["Vpcs"]["Vpc"]
    assert shown["CidrBlock"] == "192.168.0.0/16"
    assert shown["Ipv6CidrBlock"].endswith("/56")
    assert shown["VSwitchIds"]["VSwitchId"] == [vswitch_id]
    listed = await sdk.vpc("DescribeVSwitches", VpcId=vpc["VpcId"])
    (vswitch,) = listed["VSwitches"]["VSwitch"]
    assert vswitch["AvailableIpAddressCount"] == 8188
    assert vswitch["Ipv6CidrBlock"] == shown["Ipv6CidrBlock"].replace("::/56", ":7::/64")
    tables = await sdk.vpc("DescribeRouteTableList", VpcId=vpc["VpcId"])
    (table,) = tables["RouterTableList"]["RouterTableListType"]
    assert table["RouteTableId"] == vpc["RouteTableId"]

    await sdk.vpc("DeleteVSwitch", VSwitchId=vswitch_id)
    await sdk.ecs("DeleteSecurityGroup", SecurityGroupId=group_id)
    await sdk.vpc("DeleteVpc", VpcId=vpc["VpcId"])
    assert (await sdk.vpc("DescribeVpcs"))["TotalCount"] == 0


async def test_an_instance_lives_and_dies(sdk):
    _, vswitch_id, group_id = await make_network(sdk)

    instance_id = await run_instance(sdk, vswitch_id, group_id, Tag=[{"Key": "a", "Value": "b"}])

    listed = await sdk.ecs("DescribeInstances", InstanceIds=f'["{instance_id}"]')
    (shown,) = listed["Instances"]["Instance"]
    assert shown["Status"] == "Running"
    assert shown["Cpu"] == 4
    (eni,) = shown["NetworkInterfaces"]["NetworkInterface"]
    assert eni["Type"] == "Primary"
    attribute = await sdk.ecs("DescribeInstanceAttribute", InstanceId=instance_id)
    assert attribute["VpcAttributes"]["VSwitchId"] == vswitch_id
    await sdk.ecs("StopInstance", InstanceId=instance_id)
    await sdk.until_instance(instance_id, "Stopped")
    await sdk.ecs("StartInstance", InstanceId=instance_id)
    await sdk.until_instance(instance_id, "Running")
    await sdk.ecs("StopInstance", InstanceId=instance_id)
    await sdk.until_instance(instance_id, "Stopped")
    await sdk.ecs("DeleteInstance", InstanceId=instance_id)
    assert (await sdk.ecs("DescribeInstances"))["TotalCount"] == 0


async def test_instances_are_deleted_together(sdk):
    _, vswitch_id, group_id = await make_network(sdk)
    ids = [await run_instance(sdk, vswitch_id, group_id) for _ in range(2)]

    await sdk.ecs("DeleteInstances", InstanceId=ids, Force=True)

    assert (await sdk.ecs("DescribeNetworkInterfaces"))["TotalCount"] == 0


async def test_an_eni_goes_through_its_whole_life(sdk):
    _, vswitch_id, group_id = await make_network(sdk)
    instance_id = await run_instance(sdk, vswitch_id, group_id)

    eni = await sdk.ecs(
        "CreateNetworkInterface",
        VSwitchId=vswitch_id,
        SecurityGroupIds=[group_id],
        SecondaryPrivateIpAddressCount=2,
        Ipv6AddressCount=1,
        Description="interface create by terway",
        SourceDestCheck=False,
        Tag=[{"Key": "creator", "Value": "terway"}],
        ClientToken="t-1",
    )
    eni_id = eni["NetworkInterfaceId"]
    named = {"NetworkInterfaceId": eni_id}
    assert eni["Status"] == "Available"
    assert len(eni["PrivateIpSets"]["PrivateIpSet"]) == 3
    await sdk.ecs("AttachNetworkInterface", InstanceId=instance_id, **named)
    await sdk.until_eni(eni_id, "InUse")
    v4 = await sdk.ecs("AssignPrivateIpAddresses", SecondaryPrivateIpAddressCount=3, **named)
    v6 = await sdk.ecs("AssignIpv6Addresses", Ipv6AddressCount=2, **named)
    given = v4["AssignedPrivateIpAddressesSet"]["PrivateIpSet"]["PrivateIpAddress"]
    shown = await sdk.ecs("DescribeNetworkInterfaceAttribute", Attribute="basic", **named)
    assert [ip["PrivateIpAddress"] for ip in shown["PrivateIpSets"]["PrivateIpSet"]][3:] == given
    assert len(shown["Ipv6Sets"]["Ipv6Set"]) == 3
    assert shown["Attachment"]["InstanceId"] == instance_id
    await sdk.ecs("UnassignPrivateIpAddresses", PrivateIpAddress=given[:2], **named)
    gone = v6["Ipv6Sets"]["Ipv6Address"]
    await sdk.ecs("UnassignIpv6Addresses", Ipv6Address=gone, **named)
    await sdk.ecs(
        "ModifyNetworkInterfaceAttribute", Description="renamed", DeleteOnRelease=False, **named
    )
    listed = await sdk.ecs("DescribeNetworkInterfaces", NetworkInterfaceId=[eni_id], MaxResults=10)
    (shown,) = listed["NetworkInterfaceSets"]["NetworkInterfaceSet"]
    assert shown["Description"] == "renamed"
    assert len(shown["PrivateIpSets"]["PrivateIpSet"]) == 4
    await sdk.ecs("DetachNetworkInterface", InstanceId=instance_id, **named)
    await sdk.until_eni(eni_id, "Available")
    await sdk.ecs("DeleteNetworkInterface", **named)
    await sdk.until_eni(eni_id, "")


async def test_an_eni_becomes_a_member_of_a_trunk_and_itself_again(sdk):
    _, vswitch_id, group_id = await make_network(sdk)
    instance_id = await run_instance(sdk, vswitch_id, group_id)
    wanted = {"VSwitchId": vswitch_id, "SecurityGroupIds": [group_id]}
    trunk = await sdk.ecs("CreateNetworkInterface", InstanceType="Trunk", **wanted)
    trunk_id = trunk["NetworkInterfaceId"]
    await sdk.ecs("AttachNetworkInterface", InstanceId=instance_id, NetworkInterfaceId=trunk_id)
    await sdk.until_eni(trunk_id, "InUse")
    made = await sdk.ecs("CreateNetworkInterface", DeleteOnRelease=False, **wanted)
    named = {
        "NetworkInterfaceId": made["NetworkInterfaceId"],
        "InstanceId": instance_id,
        "TrunkNetworkInstanceId": trunk_id,
    }

    await sdk.ecs("AttachNetworkInterface", **named)

    await sdk.until_eni(made["NetworkInterfaceId"], "InUse")
    listed = await sdk.ecs("DescribeNetworkInterfaces", Type="Member", MaxResults=500)
    (shown,) = listed["NetworkInterfaceSets"]["NetworkInterfaceSet"]
    assert shown["Attachment"]["TrunkNetworkInterfaceId"] == trunk_id
    assert shown["Attachment"]["DeviceIndex"] == 1
    whole = await sdk.ecs("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=trunk_id)
    members = whole["Attachment"]["MemberNetworkInterfaceIds"]["MemberNetworkInterfaceId"]
    assert members == [made["NetworkInterfaceId"]]
    await sdk.ecs("DetachNetworkInterface", **named)
    await sdk.until_eni(made["NetworkInterfaceId"], "Available")


async def test_prefixes_come_and_go_and_security_groups_change(sdk):
    vpc, vswitch_id, group_id = await make_network(sdk)
    made = await sdk.ecs(
        "CreateNetworkInterface",
        VSwitchId=vswitch_id,
        SecurityGroupIds=[group_id],
        NetworkInterfaceTrafficMode="HighPerformance",
        Ipv4PrefixCount=1,
        Ipv6PrefixCount=1,
    )
    eni_id = made["NetworkInterfaceId"]
    assert made["Ipv4PrefixSets"]["Ipv4PrefixSet"][0]["Ipv4Prefix"].endswith("/28")
    assert made["Ipv6PrefixSets"]["Ipv6PrefixSet"][0]["Ipv6Prefix"].endswith("/80")

    more = await sdk.ecs("AssignPrivateIpAddresses", NetworkInterfaceId=eni_id, Ipv4PrefixCount=1)
    given = more["AssignedPrivateIpAddressesSet"]["Ipv4PrefixSet"]["Ipv4Prefixes"]
    other = await sdk.ecs("AssignIpv6Addresses", NetworkInterfaceId=eni_id, Ipv6PrefixCount=1)
    given6 = other["Ipv6PrefixSets"]["Ipv6Prefix"]
    await sdk.ecs("UnassignPrivateIpAddresses", NetworkInterfaceId=eni_id, Ipv4Prefix=given)
    await sdk.ecs("UnassignIpv6Addresses", NetworkInterfaceId=eni_id, Ipv6Prefix=given6)
    new = await sdk.ecs("CreateSecurityGroup", VpcId=vpc["VpcId"], SecurityGroupName="other")
    await sdk.ecs(
        "ModifyNetworkInterfaceAttribute",
        NetworkInterfaceId=eni_id,
        SecurityGroupId=[new["SecurityGroupId"]],
    )

    listed = await sdk.ecs("DescribeNetworkInterfaces", NetworkInterfaceId=[eni_id])
    (shown,) = listed["NetworkInterfaceSets"]["NetworkInterfaceSet"]
    assert shown["Ipv4PrefixSets"] == made["Ipv4PrefixSets"]
    assert shown["Ipv6PrefixSets"] == made["Ipv6PrefixSets"]
    assert shown["NetworkInterfaceTrafficMode"] == "HighPerformance"
    assert shown["SecurityGroupIds"]["SecurityGroupId"] == [new["SecurityGroupId"]]


async def test_security_group_rules_come_and_go(sdk):
    _, _, group_id = await make_network(sdk)
    group = {"SecurityGroupId": group_id}
    rule = {"IpProtocol": "TCP", "PortRange": "80/443", "SourceCidrIp": "10.0.0.0/8"}
    egress = {"IpProtocol": "ALL", "PortRange": "-1/-1", "Ipv6DestCidrIp": "::/0"}

    await sdk.ecs("AuthorizeSecurityGroup", Permissions=[{**rule, "Priority": "5"}], **group)
    await sdk.ecs("AuthorizeSecurityGroupEgress", Policy="drop", **egress, **group)

    shown = await sdk.ecs("DescribeSecurityGroupAttribute", Direction="all", **group)
    inward, outward = shown["Permissions"]["Permission"]
    assert (inward["PortRange"], inward["Priority"], inward["Policy"]) == ("80/443", "5", "Accept")
    assert (outward["Ipv6DestCidrIp"], outward["Policy"]) == ("::/0", "Drop")
    await sdk.ecs("RevokeSecurityGroup", Priority="5", **rule, **group)
    rule_id = outward["SecurityGroupRuleId"]
    await sdk.ecs("RevokeSecurityGroupEgress", SecurityGroupRuleId=[rule_id], **group)
    await sdk.ecs("ModifySecurityGroupPolicy", InnerAccessPolicy="Drop", **group)
    shown = await sdk.ecs("DescribeSecurityGroupAttribute", **group)
    assert shown["Permissions"]["Permission"] == []
    assert shown["InnerAccessPolicy"] == "Drop"
    listed = await sdk.ecs("DescribeSecurityGroups", SecurityGroupIds=f'["{group_id}"]')
    assert listed["TotalCount"] == 1


async def test_routes_come_and_go(sdk):
    vpc, vswitch_id, group_id = await make_network(sdk)
    instance_id = await run_instance(sdk, vswitch_id, group_id)
    table = {"RouteTableId": vpc["RouteTableId"]}

    made = await sdk.vpc(
        "CreateRouteEntry",
        DestinationCidrBlock="10.244.1.0/24",
        NextHopType="Instance",
        NextHopId=instance_id,
        **table,
    )

    listed = await sdk.vpc("DescribeRouteEntryList", RouteEntryType="Custom", **table)
    (shown,) = listed["RouteEntrys"]["RouteEntry"]
    assert shown["RouteEntryId"] == made["RouteEntryId"]
    assert shown["NextHops"]["NextHop"][0]["NextHopId"] == instance_id
    (route,) = sdk.cloud.vpc_state().routes
    assert str(route.destination) == "10.244.1.0/24"
    await sdk.vpc("DeleteRouteEntry", RouteEntryId=made["RouteEntryId"])
    assert sdk.cloud.vpc_state().routes == ()


async def test_tags_come_and_go(sdk):
    _, vswitch_id, group_id = await make_network(sdk)
    eni = await sdk.ecs("CreateNetworkInterface", VSwitchId=vswitch_id, SecurityGroupId=group_id)
    named = {"ResourceType": "eni", "ResourceId": [eni["NetworkInterfaceId"]]}

    await sdk.ecs("TagResources", Tag=[{"Key": "a", "Value": "1"}, {"Key": "b"}], **named)
    await sdk.ecs("UntagResources", TagKey=["b"], **named)

    listed = await sdk.ecs("ListTagResources", **named)
    (tag,) = listed["TagResources"]["TagResource"]
    assert (tag["TagKey"], tag["TagValue"]) == ("a", "1")


async def test_regions_zones_and_types_are_listed(sdk):
    regions = await sdk.ecs("DescribeRegions")
    zones = await sdk.ecs("DescribeZones")
    first = await sdk.ecs("DescribeInstanceTypes", MaxResults=100)
    second = await sdk.ecs("DescribeInstanceTypes", MaxResults=100, NextToken=first["NextToken"])

    assert regions["Regions"]["Region"][0]["RegionId"] == REGION
    assert ZONE in [zone["ZoneId"] for zone in zones["Zones"]["Zone"]]
    ids = [kind["InstanceTypeId"] for page in (first, second) for kind in _types(page)]
    assert len(set(ids)) == 200


def _types(page):
    return page["InstanceTypes"]["InstanceType"]


async def test_an_unknown_limit_is_left_out(sdk):
    answer = await sdk.ecs("DescribeInstanceTypes", InstanceTypes=["ecs.c4.xlarge"])

    (kind,) = _types(answer)
    assert kind["EniQuantity"] == 3
    assert "EniPrivateIpAddressQuantity" not in kind


async def test_the_sdk_sees_the_clouds_refusals(sdk):
    with pytest.raises(AlibabaCloudException) as caught:
        await sdk.ecs("DeleteNetworkInterface", NetworkInterfaceId="eni-gone")

    assert caught.value.code == "InvalidEniId.NotFound"
    assert caught.value.status_code == 404


async def test_temporary_keys_sign_as_well(sdk, cloud):
    arn = cloud.world.keyring.create_role("node")
    answer = await asyncio.to_thread(_assume_role, sdk.config, arn)
    credentials = answer["body"]["Credentials"]
    key = cloud.world.keyring.find(credentials["AccessKeyId"])
    assert key.security_token == credentials["SecurityToken"]

    temporary = Session(cloud, sdk.url, key)

    assert (await temporary.ecs("DescribeRegions"))["Regions"]


def _assume_role(config, arn):
    params = openapi_models.Params(
        action="AssumeRole",
        version="2015-04-01",
        protocol="HTTP",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    request = openapi_models.OpenApiRequest(query={"RoleArn": arn, "RoleSessionName": "test"})
    return AnySdk(config).call_api(params, request, RuntimeOptions())


async def test_the_cloud_does_not_believe_a_wrong_secret(cloud, sdk):
    sdk.config.access_key_secret = "wrong"
    liar = Sdk("ecs", sdk.config)

    with pytest.raises(AlibabaCloudException) as caught:
        await liar("DescribeRegions")
    assert caught.value.code == "SignatureDoesNotMatch"


async def test_an_action_that_is_not_emulated_is_refused_by_name(sdk):
    request = ecs_models.DescribeDisksRequest(region_id=REGION)

    with pytest.raises(AlibabaCloudException, match="DescribeDisks") as caught:
        await asyncio.to_thread(sdk.ecs.client.describe_disks, request)
    assert caught.value.code == "InvalidAction.NotFound"


EMULATED = [("ecs", action) for action in products.ECS.actions]
EMULATED += [("vpc", action) for action in products.VPC.actions]


@pytest.mark.parametrize(("product", "action"), EMULATED)
def test_every_action_and_parameter_is_the_vendors(product, action):
    sdk, models = SDKS[product]
    emulated = getattr(products, product.upper()).actions[action]

    known = _names(getattr(models, f"{action}Request"))

    assert hasattr(sdk, snake(action))
    ours = set(emulated.request.__struct_encode_fields__)
    assert ours - known <= {"RegionId"}


def _names(model):
    return set(re.findall(r"m\.get\('([^']+)'\)", inspect.getsource(model.from_map)))
