"""The cloud's load balancers in its own world: addresses, protections, time, what it forwards."""

from __future__ import annotations

import json
from ipaddress import ip_address

from terway.lab.cloud.balancer_view import forwarding_listeners, standing_addresses
from terway.lab.cloud.transitions import Delays
from tests.support.cloud_world import ZONE, make_world

SLB, NLB = "2014-05-15", "2022-04-30"


def make_clb(world, **parameters):
    wanted = {"AddressType": "intranet", "VSwitchId": world.pod_vswitch, **parameters}
    return world.call("CreateLoadBalancer", version=SLB, **wanted)


def make_nlb(world, **parameters):
    mapping = {"ZoneMappings.1.ZoneId": ZONE, "ZoneMappings.1.VSwitchId": world.pod_vswitch}
    wanted = {"AddressType": "Intranet", "VpcId": world.vpc_id, **mapping, **parameters}
    return world.call("CreateLoadBalancer", version=NLB, **wanted)


def test_load_balancers_and_enis_never_get_the_same_address():
    world = make_world(pod_cidr="192.168.32.0/28")
    given = [make_clb(world)["Address"] for _ in range(5)]
    eni = world.create_eni(SecondaryPrivateIpAddressCount="6")
    given += map(str, world.cloud.world.state.enis[eni].ipv4)

    assert len(set(given)) == len(given) == 12
    assert make_clb(world)["Code"] == "InvalidVSwitchId.IpNotEnough"
    assert make_clb(world, Address=given[0])["Code"] == "IpNotAvailable"


def test_a_deleted_load_balancer_gives_its_address_back():
    world = make_world(pod_cidr="192.168.32.0/29")
    made = [make_clb(world) for _ in range(4)]
    assert "Code" in make_clb(world)

    world.call("DeleteLoadBalancer", version=SLB, LoadBalancerId=made[0]["LoadBalancerId"])

    assert make_clb(world)["Address"] == made[0]["Address"]


def test_an_ipv6_clb_is_of_the_internet_only():
    world = make_world()

    refused = make_clb(world, AddressIPVersion="ipv6")
    made = make_clb(world, AddressType="internet", AddressIPVersion="ipv6")

    assert refused["Code"] == "InvalidParameter.AddressIPVersion"
    assert ip_address(made["Address"]).version == 6


def test_an_nlb_of_the_internet_has_other_public_addresses_than_all_others():
    world = make_world()
    found = [make_clb(world, AddressType="internet")["Address"]]
    for _ in range(3):
        made = make_nlb(world, AddressType="Internet")["LoadbalancerId"]
        said = world.call("GetLoadBalancerAttribute", version=NLB, LoadBalancerId=made)
        zone = said["ZoneMappings"][0]["LoadBalancerAddresses"][0]
        found.append(zone["PublicIPv4Address"])

    assert len(set(found)) == 4


def test_what_has_no_counterpart_in_packets_is_refused_by_name():
    world = make_world()
    group = {"ServerGroupName": "g", "VpcId": world.vpc_id}

    masquerading = world.call(
        "CreateServerGroup", version=NLB, **group, PreserveClientIpEnabled="false"
    )
    encrypted = world.call("CreateServerGroup", version=NLB, **group, Protocol="TCPSSL")

    assert masquerading["Code"] == encrypted["Code"] == "UnsupportedParameter"
    assert "PreserveClientIpEnabled" in masquerading["Message"]


def test_a_listener_forwards_once_it_runs_to_addresses_of_its_family():
    world = make_world()
    eni = world.create_eni(Ipv6AddressCount="1")
    v4, v6 = (str(ip) for ip in (*_eni(world, eni).ipv4, *_eni(world, eni).ipv6))
    balancer = make_clb(world)["LoadBalancerId"]
    servers = [{"ServerId": eni, "Type": "eni", "ServerIp": one, "Port": 80} for one in (v4, v6)]
    servers.append({"ServerId": world.instance_id, "Type": "ecs", "Port": 30080, "Weight": 0})
    group = world.call(
        "CreateVServerGroup",
        version=SLB,
        LoadBalancerId=balancer,
        BackendServers=json.dumps(servers),
    )["VServerGroupId"]
    named = {"LoadBalancerId": balancer, "ListenerPort": "80"}
    world.call(
        "CreateLoadBalancerTCPListener", version=SLB, **named, VServerGroupId=group, Bandwidth="-1"
    )
    state, now = world.cloud.world.state, world.clock()

    assert forwarding_listeners(state, now=now) == ()
    world.call("StartLoadBalancerListener", version=SLB, **named)
    (listener,) = forwarding_listeners(state, now=now)

    found = [(str(one.address), one.port, one.weight) for one in listener.servers]
    assert found == [(v4, 80, 100), (str(world.instance.ipv4), 30080, 0)]


def _eni(world, eni_id):
    return world.cloud.world.state.enis[eni_id]


def test_an_nlb_stands_nowhere_before_it_is_ready_and_refuses_changes_until_then():
    world = make_world(delays=Delays(balancer_s=5))
    made = make_nlb(world)["LoadbalancerId"]
    state = world.cloud.world.state

    assert standing_addresses(state, now=world.clock()) == ()
    early = world.call("DeleteLoadBalancer", version=NLB, LoadBalancerId=made)
    assert early["Code"] == "IncorrectStatus.loadbalancer"
    world.pass_time(5)

    assert len(standing_addresses(state, now=world.clock())) == 1


def test_a_vswitch_with_a_load_balancer_in_it_cannot_be_deleted():
    world = make_world()
    make_clb(world)

    refused = world.call("DeleteVSwitch", version="2016-04-28", VSwitchId=world.pod_vswitch)

    assert refused["Code"] == "DependencyViolation.SLB"
