"""What was asked of an interface is read back from the journal as it was written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from terway.model.address import IPPair
from terway.model.ids import MacAddress, SecurityGroupId, VSwitchId
from terway.model.interface import (
    Bandwidth,
    InterfaceSpec,
    LinkMacs,
    Mode,
    NetworkPriority,
    OwnENI,
    Placement,
)
from terway.store.interface_text import parse_spec, spec_text

EVERYTHING = InterfaceSpec(
    mode=Mode.EXCLUSIVE,
    parent="eth0",
    has_default_route=False,
    is_one_of_several=True,
    routes=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    bandwidth=Bandwidth(ingress=125_000, egress=1),
    priority=NetworkPriority.BEST_EFFORT,
    has_metadata=False,
    placement=Placement(
        vswitch_ids=(VSwitchId("vsw-1"),),
        security_group_ids=(SecurityGroupId("sg-1"), SecurityGroupId("sg-2")),
        is_erdma=True,
    ),
    own_eni=OwnENI(
        gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00::fffd")),
        trunk_mac=MacAddress("00:16:3e:00:00:01"),
        vlan_id=4094,
    ),
    macs=LinkMacs(host=MacAddress("0a:00:00:00:00:01"), pod=MacAddress("0a:00:00:00:00:02")),
    is_left_alone=True,
)


@pytest.mark.parametrize(
    "spec",
    [
        InterfaceSpec(),
        EVERYTHING,
        InterfaceSpec(bandwidth=Bandwidth(egress=1)),
        InterfaceSpec(has_default_route=False),
        InterfaceSpec(placement=Placement(is_erdma=True)),
        InterfaceSpec(own_eni=OwnENI(gateways=IPPair(v4=IPv4Address("10.0.0.253")))),
    ],
)
def test_a_spec_is_read_as_it_was_written(spec):
    assert parse_spec(spec_text(spec)) == spec


def test_an_ordinary_interface_costs_two_characters():
    assert spec_text(InterfaceSpec()) == "{}"
