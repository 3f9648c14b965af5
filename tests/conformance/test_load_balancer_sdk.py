"""The vendor's SDKs of CLB and NLB as clients of the emulated cloud: every action, real names."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time

import pytest
from alibabacloud_nlb20220430 import models as nlb_models
from alibabacloud_nlb20220430.client import Client as NlbSdk
from alibabacloud_slb20140515 import models as slb_models
from alibabacloud_slb20140515.client import Client as SlbSdk
from alibabacloud_tea_openapi import models as openapi_models
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException

from terway.lab.cloud import products
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.cloud.transitions import Delays
from terway.lab.kubeapi.tls import make_identity
from tests.support.cloud_world import REGION, ZONE, make_world, serving

SDKS = {"slb": (SlbSdk, slb_models), "nlb": (NlbSdk, nlb_models)}
QUICK = Delays(attach_s=0, detach_s=0, start_s=0)


def method_of(client, action):
    """Return the SDK's method of an action, whatever it makes of the capitals in its name."""
    found = {name.replace("_", ""): name for name in dir(client) if not name.startswith("_")}
    return getattr(client, found[action.lower()])


def full(answer):
    """Return an answer without empty lists: the SDKs add those that an answer does not have."""
    if isinstance(answer, dict):
        return {key: full(one) for key, one in answer.items() if one != []}
    return [full(one) for one in answer] if isinstance(answer, list) else answer


class Session:
    def __init__(self, world, url):
        self.world = world
        self.bodies = []
        key = world.cloud.world.keyring.create_key("sdk")
        config = openapi_models.Config(
            access_key_id=key.id,
            access_key_secret=key.secret,
            endpoint=url.removeprefix("http://"),
            protocol="http",
            region_id=REGION,
        )
        self.clients = {name: client(config) for name, (client, _) in SDKS.items()}

    async def note(self, request, response):
        self.bodies.append(response.body)

    async def slb(self, action, **parameters):
        return await self._call("slb", action, parameters)

    async def nlb(self, action, **parameters):
        return await self._call("nlb", action, parameters)

    async def _call(self, product, action, parameters):
        request = getattr(SDKS[product][1], f"{action}Request")().from_map(parameters)
        if hasattr(request, "region_id"):
            request.region_id = REGION
        call = method_of(self.clients[product], action)
        answer = (await asyncio.to_thread(call, request)).body.to_map()
        # Every field of the answer has a name, a place and a wrapper that the SDK knows.
        assert full(answer) == full(json.loads(self.bodies[-1]))
        return answer


@pytest.fixture
async def sdk():
    world = make_world(delays=QUICK)
    world.clock.now = time.time()  # the SDKs date their signatures by the machine
    app = create_openapi_app(world.cloud)
    holder: list[Session] = []

    async def note(request, response):
        await holder[0].note(request, response)

    app.on_response_prepare.append(note)
    async with serving(app) as url:
        holder.append(Session(world, url))
        yield holder[0]


async def test_a_clb_instance_lives_from_creation_to_deletion(sdk):
    world = sdk.world
    eni = world.create_eni(SecondaryPrivateIpAddressCount="2")
    pods = world.cloud.world.state.enis[eni].ipv4[1:]

    made = await sdk.slb(
        "CreateLoadBalancer",
        AddressType="intranet",
        VpcId=world.vpc_id,
        VSwitchId=world.pod_vswitch,
        LoadBalancerName="web",
        InstanceChargeType="PayByCLCU",
        DeleteProtection="on",
        ModificationProtectionStatus="ConsoleProtection",
        ModificationProtectionReason="managed",
        ClientToken="once",
        Tag=[{"Key": "kubernetes.do.not.delete", "Value": "a123"}],
    )
    balancer = made["LoadBalancerId"]
    servers = [
        {"ServerId": eni, "ServerIp": str(one), "Type": "eni", "Port": 8080, "Weight": 100}
        for one in pods
    ]
    servers.append({"ServerId": world.instance_id, "Type": "ecs", "Port": "30080", "Weight": "50"})
    group = (await sdk.slb("CreateVServerGroup", LoadBalancerId=balancer, VServerGroupName="g"))[
        "VServerGroupId"
    ]
    await sdk.slb(
        "AddVServerGroupBackendServers", VServerGroupId=group, BackendServers=json.dumps(servers)
    )
    acl = (await sdk.slb("CreateAccessControlList", AclName="ours"))["AclId"]
    await sdk.slb(
        "AddAccessControlListEntry",
        AclId=acl,
        AclEntrys=json.dumps([{"entry": "192.168.0.0/16", "comment": "the VPC"}]),
    )
    for protocol in ("TCP", "UDP"):
        more = (
            {
                "ConnectionDrain": "on",
                "ConnectionDrainTimeout": 30,
                "PersistenceTimeout": 60,
                "HealthCheckType": "http",
                "HealthCheckURI": "/healthz",
                "AclId": acl,
                "AclType": "white",
                "AclStatus": "on",
            }
            if protocol == "TCP"
            else {}
        )
        await sdk.slb(
            f"CreateLoadBalancer{protocol}Listener",
            LoadBalancerId=balancer,
            ListenerPort=80,
            Bandwidth=-1,
            VServerGroupId=group,
            Scheduler="wrr",
            healthCheckInterval=1,
            HealthyThreshold=2,
            **more,
        )
        await sdk.slb(
            "StartLoadBalancerListener",
            LoadBalancerId=balancer,
            ListenerPort=80,
            ListenerProtocol=protocol.lower(),
        )

    tcp = await sdk.slb(
        "DescribeLoadBalancerTCPListenerAttribute", LoadBalancerId=balancer, ListenerPort=80
    )
    assert (tcp["Status"], tcp["ConnectionDrain"], tcp["HealthCheckURI"]) == (
        "running",
        "on",
        "/healthz",
    )
    await sdk.slb(
        "DescribeLoadBalancerUDPListenerAttribute", LoadBalancerId=balancer, ListenerPort=80
    )
    listed = await sdk.slb("DescribeLoadBalancerListeners", LoadBalancerId=[balancer])
    assert [one["ListenerProtocol"] for one in listed["Listeners"]] == ["tcp", "udp"]
    described = await sdk.slb("DescribeLoadBalancerAttribute", LoadBalancerId=balancer)
    assert described["ListenerPorts"] == {"ListenerPort": [80, 80]}
    tags = json.dumps([{"TagKey": "kubernetes.do.not.delete", "TagValue": "a123"}])
    found = await sdk.slb("DescribeLoadBalancers", Tags=tags)
    assert found["LoadBalancers"]["LoadBalancer"][0]["LoadBalancerId"] == balancer
    shown = await sdk.slb("DescribeVServerGroupAttribute", VServerGroupId=group)
    assert [one["Weight"] for one in shown["BackendServers"]["BackendServer"]] == [100, 100, 50]
    health = await sdk.slb("DescribeHealthStatus", LoadBalancerId=balancer, ListenerPort=80)
    assert {one["ServerHealthStatus"] for one in health["BackendServers"]["BackendServer"]} == {
        "unavailable"
    }
    rules = await sdk.slb("DescribeAccessControlListAttribute", AclId=acl)
    assert rules["RelatedListeners"]["RelatedListener"][0]["AclType"] == "white"

    refused = sdk.slb("DeleteLoadBalancer", LoadBalancerId=balancer)
    await _is_refused(refused, "OperationDenied.DeleteProtectionIsOn")
    await _is_refused(sdk.slb("DeleteVServerGroup", VServerGroupId=group), "RspoolVipExist")
    await sdk.slb(
        "SetLoadBalancerDeleteProtection", LoadBalancerId=balancer, DeleteProtection="off"
    )
    await sdk.slb("DeleteLoadBalancer", LoadBalancerId=balancer)
    await _is_refused(
        sdk.slb("DescribeLoadBalancerAttribute", LoadBalancerId=balancer),
        "InvalidLoadBalancerId.NotFound",
    )
    await sdk.slb("DeleteAccessControlList", AclId=acl)


async def test_listeners_of_http_and_certificates_are_as_the_vendor_has_them(sdk):
    identity = make_identity(("shop.example.com",), now=sdk.world.clock.now)
    pair = {"ServerCertificate": identity.cert_pem, "PrivateKey": identity.key_pem}
    made = await sdk.slb("CreateLoadBalancer", AddressType="internet", LoadBalancerName="web")
    balancer = made["LoadBalancerId"]
    group = (await sdk.slb("CreateVServerGroup", LoadBalancerId=balancer))["VServerGroupId"]
    other = make_identity(("a",), now=sdk.world.clock.now).key_pem
    wrong = sdk.slb("UploadServerCertificate", **{**pair, "PrivateKey": other})
    await _is_refused(wrong, "CertificateNotMatchPrivateKey")
    certificate = (await sdk.slb("UploadServerCertificate", **pair))["ServerCertificateId"]
    settings = {
        "LoadBalancerId": balancer,
        "VServerGroupId": group,
        "HealthCheck": "on",
        "HealthCheckURI": "/healthz",
        "StickySession": "on",
        "StickySessionType": "insert",
        "CookieTimeout": 60,
        "Bandwidth": -1,
    }
    https = {**settings, "ListenerPort": 443, "ServerCertificateId": certificate}
    redirect = {"ListenerForward": "on", "ForwardPort": 443}
    http = {"LoadBalancerId": balancer, "ListenerPort": 80}

    await _is_refused(
        sdk.slb("CreateLoadBalancerHTTPListener", **http, **redirect), "InvalidParameter"
    )
    await _is_refused(
        sdk.slb("CreateLoadBalancerHTTPSListener", **{**https, "ServerCertificateId": "none"}),
        "ServerCertificateId.NotFound",
    )
    await sdk.slb("CreateLoadBalancerHTTPSListener", **https)
    await sdk.slb("CreateLoadBalancerHTTPListener", **http, **redirect)
    taken = sdk.slb("CreateLoadBalancerTCPListener", **http, VServerGroupId=group, Bandwidth=-1)
    await _is_refused(taken, "ListenerAlreadyExists")
    described = await sdk.slb(
        "DescribeLoadBalancerHTTPSListenerAttribute", LoadBalancerId=balancer, ListenerPort=443
    )
    assert (described["ServerCertificateId"], described["CookieTimeout"]) == (certificate, 60)
    described = await sdk.slb("DescribeLoadBalancerHTTPListenerAttribute", **http)
    assert (described["ListenerForward"], described["ForwardPort"]) == ("on", 443)
    listed = await sdk.slb("DescribeLoadBalancerListeners", LoadBalancerId=[balancer])
    assert [one["ListenerProtocol"] for one in listed["Listeners"]] == ["https", "http"]

    used = sdk.slb("DeleteServerCertificate", ServerCertificateId=certificate)
    await _is_refused(used, "CertificateAndPrivateKeyIsRefered")
    held = await sdk.slb("DescribeServerCertificates")
    names = held["ServerCertificates"]["ServerCertificate"][0]["SubjectAlternativeNames"]
    assert names["SubjectAlternativeName"] == ["shop.example.com"]
    await sdk.slb("DeleteLoadBalancer", LoadBalancerId=balancer)
    await sdk.slb("DeleteServerCertificate", ServerCertificateId=certificate)


async def test_an_nlb_instance_lives_from_creation_to_deletion(sdk):
    world = sdk.world
    made = await sdk.nlb(
        "CreateLoadBalancer",
        AddressType="Internet",
        AddressIpVersion="DualStack",
        VpcId=world.vpc_id,
        LoadBalancerName="web",
        ZoneMappings=[{"ZoneId": ZONE, "VSwitchId": world.pod_vswitch}],
        DeletionProtectionConfig={"Enabled": True, "Reason": "ours"},
        Tag=[{"Key": "a", "Value": "b"}],
    )
    balancer = made["LoadbalancerId"]
    described = await sdk.nlb("GetLoadBalancerAttribute", LoadBalancerId=balancer)
    addresses = described["ZoneMappings"][0]["LoadBalancerAddresses"][0]
    assert addresses["PublicIPv4Address"].startswith("198.51.100.")
    assert addresses["Ipv6Address"]
    group = await sdk.nlb(
        "CreateServerGroup",
        ServerGroupName="g",
        ServerGroupType="Ip",
        VpcId=world.vpc_id,
        Protocol="TCP_UDP",
        ConnectionDrainEnabled=True,
        ConnectionDrainTimeout=30,
        HealthCheckConfig={"HealthCheckEnabled": True, "HealthCheckHttpCode": ["http_2xx"]},
        Tag=[{"Key": "a", "Value": "b"}],
    )
    assert (await sdk.nlb("GetJobStatus", JobId=group["JobId"]))["Status"] == "Succeeded"
    group = group["ServerGroupId"]
    server = {"ServerId": "192.168.32.9", "ServerType": "Ip", "ServerIp": "192.168.32.9"}
    await sdk.nlb(
        "AddServersToServerGroup",
        ServerGroupId=group,
        Servers=[{**server, "Port": 80, "Weight": 100, "Description": "d"}],
    )
    await sdk.nlb(
        "UpdateServerGroupServersAttribute",
        ServerGroupId=group,
        Servers=[{**server, "Port": 80, "Weight": 0}],
    )
    listener = await sdk.nlb(
        "CreateListener",
        LoadBalancerId=balancer,
        ListenerProtocol="TCP",
        ListenerPort=80,
        ServerGroupId=group,
    )
    listener = listener["ListenerId"]

    servers = await sdk.nlb("ListServerGroupServers", ServerGroupId=group)
    assert [(one["ServerIp"], one["Weight"]) for one in servers["Servers"]] == [("192.168.32.9", 0)]
    listed = await sdk.nlb("ListListeners", LoadBalancerIds=[balancer])
    assert [one["ListenerStatus"] for one in listed["Listeners"]] == ["Running"]
    groups = await sdk.nlb("ListServerGroups", Tag=[{"Key": "a", "Value": "b"}])
    assert groups["ServerGroups"][0]["RelatedLoadBalancerIds"] == [balancer]
    found = await sdk.nlb("ListLoadBalancers", Tag=[{"Key": "a", "Value": "b"}])
    assert found["LoadBalancers"][0]["DNSName"].startswith(balancer)
    health = await sdk.nlb("GetListenerHealthStatus", ListenerId=listener)
    assert health["ListenerHealthStatus"][0]["ServerGroupInfos"][0]["NonNormalServers"]
    await sdk.nlb("GetListenerAttribute", ListenerId=listener)

    joining = {"LoadBalancerId": balancer, "SecurityGroupIds": [world.group]}
    joined = await sdk.nlb("LoadBalancerJoinSecurityGroup", **joining)
    assert (await sdk.nlb("GetJobStatus", JobId=joined["JobId"]))["Status"] == "Succeeded"
    described = await sdk.nlb("GetLoadBalancerAttribute", LoadBalancerId=balancer)
    assert described["SecurityGroupIds"] == [world.group]
    await sdk.nlb("LoadBalancerLeaveSecurityGroup", **joining)

    refused = sdk.nlb("DeleteLoadBalancer", LoadBalancerId=balancer)
    await _is_refused(refused, "OperationDenied.DeletionProtectionEnabled")
    await _is_refused(
        sdk.nlb("DeleteServerGroup", ServerGroupId=group), "ResourceInUse.ServerGroup"
    )
    await sdk.nlb(
        "UpdateLoadBalancerProtection", LoadBalancerId=balancer, DeletionProtectionEnabled=False
    )
    await sdk.nlb("DeleteListener", ListenerId=listener)
    await sdk.nlb(
        "RemoveServersFromServerGroup", ServerGroupId=group, Servers=[{**server, "Port": 80}]
    )
    await sdk.nlb("DeleteServerGroup", ServerGroupId=group)
    await sdk.nlb("DeleteLoadBalancer", LoadBalancerId=balancer)


async def _is_refused(call, code):
    with pytest.raises(AlibabaCloudException) as caught:
        await call
    assert caught.value.code == code


EMULATED = [("slb", action) for action in products.SLB.actions]
EMULATED += [("nlb", action) for action in products.NLB.actions]


@pytest.mark.parametrize(("product", "action"), EMULATED)
def test_every_action_and_parameter_is_the_vendors(product, action):
    client, models = SDKS[product]
    emulated = getattr(products, product.upper()).actions[action]

    known = _names(getattr(models, f"{action}Request"))

    assert callable(method_of(client, action))
    assert set(emulated.request.__struct_encode_fields__) - known <= {"RegionId"}


def _names(model):
    return set(re.findall(r"m\.get\('([^']+)'\)", inspect.getsource(model.from_map)))
