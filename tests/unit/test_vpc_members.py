"""Members in a VPC's state: which can be, and what they are in plans and maps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.lab.vpc.check import check_state
from terway.lab.vpc.contract import port_number
from terway.lab.vpc.plan import fabric_name, plan_links, port_numbers
from terway.model.errors import UsageError
from terway.model.ids import ENIId, InstanceId
from terway.model.network import Link
from tests.support.instances import PODS, member, port, vpc_state

TRUNK, OTHER = port(20, vswitch=PODS), port(21, vswitch=PODS)
ONE, TWO = member(31, TRUNK, 1), member(32, TRUNK, 2)


def link_of(one, ifindex):
    alias = f"{one.eni_id} {one.instance_id} {one.ifname} {one.mac}"
    return Link(
        ifindex=ifindex,
        name=fabric_name(one.eni_id),
        mac=None,
        mtu_bytes=1500,
        is_up=True,
        kind="veth",
        alias=alias,
    )


def test_members_need_no_link_and_no_name():
    check_state(vpc_state(TRUNK, ONE, TWO))

    plan = plan_links([TRUNK, ONE, TWO], [TRUNK.instance_id], [])
    assert [plug.eni_id for plug in plan.plugs] == [TRUNK.eni_id]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (replace(ONE, trunk_id=ENIId("eni-none")), "trunk_id"),
        (replace(ONE, trunk_id=TWO.eni_id), "trunk_id"),
        (replace(ONE, trunk_id=OTHER.eni_id), "trunk_id"),
        (replace(ONE, instance_id=InstanceId("i-other")), "trunk_id"),
        (replace(ONE, vlan_id=0), "vlan_id"),
        (replace(ONE, vlan_id=4095), "vlan_id"),
        (replace(ONE, vlan_id=TWO.vlan_id), "vlan_id"),
        (replace(port(31), vlan_id=1), "vlan_id"),
    ],
)
def test_a_member_that_cannot_be_is_refused_by_name(wrong, field):
    with pytest.raises(UsageError) as caught:
        check_state(vpc_state(TRUNK, OTHER, TWO, wrong))
    assert caught.value.field == field


def test_a_members_number_is_its_trunks_link_and_its_vlan_id():
    numbers = port_numbers([TRUNK, ONE, TWO], [link_of(TRUNK, 7)])

    assert numbers == {
        TRUNK.eni_id: 7,
        ONE.eni_id: port_number(7, 1),
        TWO.eni_id: port_number(7, 2),
    }
    assert len(set(numbers.values())) == 3


def test_members_wait_for_the_link_of_their_trunk():
    assert port_numbers([TRUNK, ONE], []) == {}
