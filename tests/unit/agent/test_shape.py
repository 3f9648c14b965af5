"""What a node's mode makes of its configuration: pool, list for the runtime, capacity."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest

from terway.agent.pool_settings import InstanceFacts, pool_config
from terway.agent.shape import check_capacity, shape_of
from terway.config.agent_config import AgentConfig, parse_agent_config
from terway.ipam.adopt import slots_for
from terway.ipam.values import AddressPhase
from terway.model.address import IPStack
from terway.model.eni import ENI, ENIStatus, ENIType, InstanceLimits
from terway.model.errors import UsageError
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)
from terway.model.interface import Mode
from tests.support.attachments import NODE_FACTS, attachment

LIMITS = InstanceLimits(
    instance_type="ecs.test",
    eni_quantity=8,
    eni_private_ip_address_quantity=30,
    eni_ipv6_address_quantity=30,
)
INSTANCE = InstanceFacts(
    instance_id=InstanceId("i-1"),
    zone_id=ZoneId("z"),
    vswitch_id=VSwitchId("vsw-1"),
    security_group_ids=(SecurityGroupId("sg-1"),),
    limits=LIMITS,
)


def config(**conf) -> AgentConfig:
    plugin = {"type": "terway", "cniVersion": "1.0.0", **conf.pop("cni", {})}
    return parse_agent_config({"eni_conf": json.dumps(conf), "10-terway.conf": json.dumps(plugin)})


def shape(mode=Mode.EXCLUSIVE, **conf):
    read = config(**conf)
    shared = pool_config(read.eni, INSTANCE, token_seed="t")
    return shape_of(mode, read, shared, NODE_FACTS)


def small(eni_quantity: int) -> InstanceLimits:
    return InstanceLimits(
        instance_type="ecs.small",
        eni_quantity=eni_quantity,
        eni_private_ip_address_quantity=10,
        eni_ipv6_address_quantity=10,
    )


def test_the_pool_has_one_address_of_each_family_for_an_eni():
    pool = shape(ip_stack="dual", min_pool_size=2, max_pool_size=4).pool

    assert (pool.ipv4_per_eni, pool.ipv6_per_eni, pool.pods_per_eni) == (1, 1, 1)
    assert pool.capacity == 7
    assert (pool.min_free, pool.max_free) == (2, 4)


def test_no_more_enis_are_kept_warm_than_the_node_may_have():
    pool = shape(min_pool_size=20, max_pool_size=50).pool

    assert (pool.min_free, pool.max_free) == (7, 7)


def test_min_eni_counts_warm_enis():
    assert shape(min_eni=3, max_pool_size=5).pool.min_free == 3


def test_a_node_in_shared_mode_is_as_it_was():
    found = shape(Mode.VETH, max_pool_size=5)

    assert found.pool.ipv4_per_eni == 30
    assert found.facts == NODE_FACTS
    assert json.loads(found.conflist)["plugins"][0]["type"] == "terway"


def test_the_runtime_gets_our_plugin_alone_with_the_dns_caches_address():
    conf = json.loads(shape(cni={"mtu": 8500}).conflist)

    assert conf["cniVersion"] == "1.0.0"
    assert conf["plugins"] == [
        {
            "type": "terway",
            "capabilities": {"bandwidth": True},
            "host_stack_cidrs": ["169.254.20.10/32"],
            "mtu": 8500,
        }
    ]


def test_ranges_of_the_host_stack_are_the_users_where_he_names_some():
    found = shape(cni={"host_stack_cidrs": ["10.9.0.0/16"]})

    assert [str(one) for one in found.facts.host_stack_cidrs] == ["10.9.0.0/16"]


def test_an_eni_with_more_addresses_serves_one_pod():
    """Bug class 7: a second pair would be a second pod with the same device."""
    mine = IPv4Address("192.168.32.9")
    eni = ENI(
        id=ENIId("eni-1"),
        mac=MacAddress("00:16:3e:00:00:01"),
        type=ENIType.SECONDARY,
        status=ENIStatus.IN_USE,
        vpc_id=VpcId("vpc-1"),
        vswitch_id=VSwitchId("vsw-1"),
        zone_id=ZoneId("z"),
        primary_ipv4=mine,
        ipv4=(IPv4Address("192.168.32.8"), mine, IPv4Address("192.168.32.10")),
    )

    slots = slots_for(shape().pool, eni, phase=AddressPhase.FREE)

    assert [(slot.address, slot.is_primary) for slot in slots] == [(mine, True)]


@pytest.mark.parametrize(
    ("mode", "limits", "said"),
    [
        (Mode.EXCLUSIVE, small(7), "EniQuantity - 1 = 7 - 1: it must be more than 6"),
        (
            Mode.VETH,
            small(2),
            "(EniQuantity - 1) x EniPrivateIpAddressQuantity = (2 - 1) x 10: it must be more than",
        ),
    ],
)
def test_a_type_that_is_too_small_is_refused_with_the_arithmetic(mode, limits, said):
    with pytest.raises(UsageError) as raised:
        check_capacity(limits, mode, IPStack.IPV4, ())

    assert said in str(raised.value)
    assert "take a type with more ENIs" in str(raised.value)


def test_a_type_that_is_too_small_goes_on_while_it_has_pods():
    (caution,) = check_capacity(small(2), Mode.VETH, IPStack.IPV4, (attachment(),))

    assert "goes on, for it has pods: 1" in caution.text


def test_a_type_that_is_large_enough_is_nothing_to_speak_of():
    assert check_capacity(small(8), Mode.EXCLUSIVE, IPStack.DUAL, ()) == ()
