"""Faults of wires are part of the state that the fabric is told, and of nothing else."""

from __future__ import annotations

import pytest

from terway.lab.vpc.impair import Impairment, impaired
from terway.lab.vpc.state import Port, VpcState
from terway.model.errors import UsageError
from terway.model.ids import ENIId, InstanceId, MacAddress, VpcId, VSwitchId


def port(number: int) -> Port:
    return Port(
        eni_id=ENIId(f"eni-{number}"),
        mac=MacAddress(f"00:16:3e:00:00:0{number}"),
        vpc_id=VpcId("vpc-1"),
        vswitch_id=VSwitchId("vsw-1"),
        instance_id=InstanceId("i-1"),
        ifname=f"eth{number}",
        ipv4=(),
    )


STATE = VpcState(ports=(port(1), port(2)))


def test_a_fault_concerns_its_port_alone():
    bad, good = impaired(STATE, {ENIId("eni-1"): Impairment(loss=0.5, mtu_bytes=1280)}).ports

    assert (bad.loss, bad.mtu_bytes) == (0.5, 1280)
    assert good == port(2)


def test_a_wire_carries_no_more_than_its_link_whatever_a_fault_says():
    (bad, _) = impaired(STATE, {ENIId("eni-1"): Impairment(mtu_bytes=9000)}).ports

    assert bad.mtu_bytes == 1500


def test_faults_of_enis_that_are_not_there_change_nothing():
    assert impaired(STATE, {ENIId("eni-9"): Impairment(loss=1.0)}) == STATE


@pytest.mark.parametrize(
    ("values", "field"),
    [({"loss": 1.5}, "loss"), ({"loss": -0.1}, "loss"), ({"mtu_bytes": 60}, "mtu_bytes")],
)
def test_what_no_wire_can_be_is_refused_with_its_name(values, field):
    with pytest.raises(UsageError) as caught:
        Impairment(**values)

    assert caught.value.field == field
