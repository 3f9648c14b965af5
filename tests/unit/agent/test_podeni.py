"""What a PodENI says becomes the pod's interfaces, or is refused by name."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from terway.agent.interfaces import InterfacePolicy
from terway.agent.podeni import Here, interfaces_of_podeni, missing_of
from terway.model.address import IPPair
from terway.model.attachment import Lease
from terway.model.errors import TransientError, UsageError, VpcError
from terway.model.ids import ENIId, InstanceId, MacAddress
from terway.model.interface import Bandwidth, Mode, OwnENI
from tests.support.podenis import HERE, TRUNK, allocation, call, pod, podeni, read

HERE_NOW = Here(instance_id=InstanceId(HERE), eni=lambda one: TRUNK if one == TRUNK.id else None)
SHARED, WHOLE = InterfacePolicy(mode=Mode.VETH), InterfacePolicy(mode=Mode.EXCLUSIVE)
GATEWAYS = IPPair(
    v4=IPv4Address("192.168.127.253"), v6=IPv6Address("fd00:0:3::ffff:ffff:ffff:fffd")
)


def made(manifest, policy=SHARED, here=HERE_NOW, **annotations):
    return interfaces_of_podeni(call(), pod(**annotations), read(manifest), policy, here)


def test_a_member_goes_over_the_nodes_trunk_with_the_addresses_of_the_podeni():
    [one] = made(podeni())

    assert one.key == call().key
    assert one.spec.own_eni == OwnENI(gateways=GATEWAYS, trunk_mac=TRUNK.mac, vlan_id=1)
    assert one.lease == Lease(
        eni_id=ENIId("eni-31"),
        eni_mac=MacAddress("00:16:3e:00:00:1f"),
        addresses=IPPair(v4=IPv4Address("192.168.96.31"), v6=IPv6Address("fd00:0:3::1f")),
    )


def test_an_eni_that_is_no_members_goes_whole_into_the_pod():
    [one] = made(podeni(is_member=False), WHOLE)

    assert one.spec.mode is Mode.EXCLUSIVE
    assert one.spec.own_eni == OwnENI(gateways=GATEWAYS)


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        (Mode.VETH, Mode.VETH),
        (Mode.DATAPATHV2, Mode.DATAPATHV2),
        (Mode.IPVLAN, Mode.DATAPATHV2),  # a child has its parent's MAC
    ],
)
def test_a_member_is_made_as_other_pods_of_the_node_where_it_can_be(mode, becomes):
    [one] = made(podeni(), InterfacePolicy(mode=mode))

    assert one.spec.mode is becomes


def test_several_networks_are_one_attachment_each_and_one_has_the_default_route():
    routes = [{"dst": "10.0.0.0/8"}]
    second = allocation(32, interface="eth1", defaultRoute=True, extraRoutes=routes)

    first, other = made(podeni(second, allocation(31, interface="eth0")))

    assert (first.key.ifname, other.key.ifname) == ("eth0", "eth1")
    assert (first.spec.has_default_route, other.spec.has_default_route) == (False, True)
    assert (first.spec.parent, other.spec.parent) == ("", "eth0")
    assert other.spec.routes == (ip_network("10.0.0.0/8"),)
    assert first.spec.is_one_of_several
    assert other.spec.own_eni.vlan_id == 1


def test_the_first_interface_has_the_default_route_where_nobody_says():
    first, second = made(podeni(allocation(31), allocation(32, interface="eth1")))

    assert (first.spec.has_default_route, second.spec.has_default_route) == (True, False)


def test_limits_and_the_nodes_routes_are_those_of_any_pod():
    routes = (ip_network("10.97.0.0/16"),)
    limit = {"k8s.aliyun.com/egress-bandwidth": "1M"}

    [one] = interfaces_of_podeni(
        call(), pod(**limit), read(podeni()), replace(SHARED, routes=routes), HERE_NOW
    )

    assert one.spec.bandwidth == Bandwidth(egress=1 << 20)
    assert one.spec.routes == routes


@pytest.mark.parametrize("mode", list(Mode))
def test_several_whole_enis_are_refused_where_programs_see_one_before_any_is_taken(mode):
    manifest = podeni(allocation(31), allocation(32, interface="eth1"), is_member=False)
    policy = InterfacePolicy(mode=mode, has_programs=True)

    with pytest.raises(UsageError, match="one ENI each with the eBPF data path") as caught:
        made(manifest, policy)

    assert str(caught.value).startswith("PodENI shop/web-0 is for eth0, eth1: ")
    assert call().key.container_id not in str(caught.value)
    assert len(made(manifest, replace(policy, has_programs=False))) == 2
    [one] = made(podeni(is_member=False), policy)
    assert one.spec.mode is Mode.EXCLUSIVE


def test_several_members_of_a_trunk_are_no_concern_of_programs():
    manifest = podeni(allocation(31), allocation(32, interface="eth1"))

    assert len(made(manifest, InterfacePolicy(mode=Mode.DATAPATHV2, has_programs=True))) == 2


@pytest.mark.parametrize(
    ("manifest", "policy", "error", "words"),
    [
        (podeni(instanceID="i-2"), SHARED, TransientError, "i-2"),
        (podeni(trunkENIID="eni-other"), SHARED, TransientError, "trunk eni-other"),
        (podeni(), WHOLE, UsageError, "whole ENIs"),
        (podeni(allocation(31, ipv4="", ipv6="")), SHARED, UsageError, "no address"),
        (podeni(allocation(31, interface="eth7")), SHARED, UsageError, "eth7"),
        (podeni(allocation(31), allocation(32)), SHARED, UsageError, "each once"),
    ],
)
def test_what_this_node_cannot_make_is_refused_by_name(manifest, policy, error, words):
    with pytest.raises(error, match=words):
        made(manifest, policy)


@pytest.mark.parametrize(
    ("manifest", "policy", "mode"),
    [
        (podeni(), SHARED, Mode.VETH),
        (podeni(), replace(SHARED, mode=Mode.IPVLAN), Mode.DATAPATHV2),
        (podeni(), replace(SHARED, has_vlan_devices=True), Mode.EXCLUSIVE),
        (podeni(is_member=False), SHARED, Mode.EXCLUSIVE),
    ],
)
def test_a_pod_has_a_device_where_its_eni_is_whole_or_the_node_makes_vlan_devices(
    manifest, policy, mode
):
    (only,) = made(manifest, policy)

    assert only.spec.mode is mode


def test_a_family_that_the_trunks_vswitch_lacks_is_refused_with_what_to_change():
    assert TRUNK.vswitch is not None
    narrow = replace(TRUNK, vswitch=replace(TRUNK.vswitch, ipv6_cidr=None))
    here = replace(HERE_NOW, eni=lambda _: narrow)

    with pytest.raises(VpcError, match=f"{TRUNK.vswitch_id} of trunk .* has no IPv6 range"):
        made(podeni(), here=here)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "there is none"),
        (read(podeni(phase="Binding", msg="no addresses left")), "Binding, not Bind: no addr"),
        (read(podeni(phase="")), r"phase is \(none\)"),
        (read(podeni(eniInfos={})), "not bound yet: eni-31"),
        (read({**podeni(), "spec": {}}), "no allocations"),
    ],
)
def test_what_is_missing_is_said_in_words(found, words):
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(missing_of(found, pod()))


def test_a_podeni_of_another_pod_of_the_name_is_not_the_pods():
    assert "u-1, not u-2" in missing_of(read(podeni()), pod(uid="u-2"))
    assert missing_of(read(podeni()), pod()) == ""
