"""Whatever is asked of the cloud in whatever order, its promises hold."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from terway.lab.vpc.check import check_state
from terway.model.address import gateway_of
from terway.model.eni import ENIStatus, ENIType
from tests.support.cloud_world import VPC, make_world


class AnyCalls(RuleBasedStateMachine):
    """Calls in any order: ENIs come and go, trunks and members, addresses too, time passes."""

    def __init__(self):
        super().__init__()
        self.world = make_world(pod_cidr="192.168.32.0/27", rates={})
        self.state = self.world.cloud.world.state
        self.tokens = {}

    def any_eni(self, index):
        return list(self.state.enis)[index % len(self.state.enis)]

    @rule(secondary=st.integers(0, 12), ipv6=st.integers(0, 10), token=st.integers(0, 5))
    def create(self, secondary, ipv6, token):
        wanted = {"SecondaryPrivateIpAddressCount": secondary, "Ipv6AddressCount": ipv6}
        parameters = {name: str(count) for name, count in wanted.items() if count}
        answer = self.world.call(
            "CreateNetworkInterface",
            VSwitchId=self.world.pod_vswitch,
            SecurityGroupId=self.world.group,
            ClientToken=f"t-{token}",
            **parameters,
        )
        if "Code" in answer:
            return
        key = (token, tuple(parameters.items()))
        assert (
            self.tokens.setdefault(key, answer["NetworkInterfaceId"])
            == (answer["NetworkInterfaceId"])
        )

    @rule(eni=st.integers(0, 20))
    def attach(self, eni):
        self.world.attach(self.any_eni(eni))

    @rule(eni=st.integers(0, 20))
    def detach(self, eni):
        self.world.call(
            "DetachNetworkInterface",
            NetworkInterfaceId=self.any_eni(eni),
            InstanceId=self.world.instance_id,
        )

    @rule()
    def create_trunk(self):
        self.world.call(
            "CreateNetworkInterface",
            VSwitchId=self.world.pod_vswitch,
            SecurityGroupId=self.world.group,
            InstanceType="Trunk",
        )

    @rule(eni=st.integers(0, 20), trunk=st.integers(0, 20))
    def attach_member(self, eni, trunk):
        self.world.call("AttachNetworkInterface", **self.member_of_some_trunk(eni, trunk))

    @rule(eni=st.integers(0, 20), trunk=st.integers(0, 20))
    def detach_member(self, eni, trunk):
        self.world.call("DetachNetworkInterface", **self.member_of_some_trunk(eni, trunk))

    def member_of_some_trunk(self, eni, trunk):
        trunks = [one.id for one in self.state.enis.values() if one.type is ENIType.TRUNK]
        return {
            "NetworkInterfaceId": self.any_eni(eni),
            "InstanceId": self.world.instance_id,
            "TrunkNetworkInstanceId": trunks[trunk % len(trunks)] if trunks else "eni-none",
        }

    @rule(eni=st.integers(0, 20))
    def delete(self, eni):
        self.world.call("DeleteNetworkInterface", NetworkInterfaceId=self.any_eni(eni))

    @rule(eni=st.integers(0, 20), count=st.integers(1, 15))
    def assign(self, eni, count):
        named = {"NetworkInterfaceId": self.any_eni(eni)}
        self.world.call(
            "AssignPrivateIpAddresses", SecondaryPrivateIpAddressCount=str(count), **named
        )
        self.world.call("AssignIpv6Addresses", Ipv6AddressCount=str(count), **named)

    @rule(eni=st.integers(0, 20), index=st.integers(0, 20))
    def unassign(self, eni, index):
        eni_id = self.any_eni(eni)
        ipv4 = self.state.enis[eni_id].ipv4
        self.world.call(
            "UnassignPrivateIpAddresses",
            NetworkInterfaceId=eni_id,
            **{"PrivateIpAddress.1": str(ipv4[index % len(ipv4)])},
        )

    @rule(seconds=st.sampled_from([0.2, 1.0, 100.0]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    @invariant()
    def no_address_has_two_owners(self):
        given = [ip for eni in self.state.enis.values() for ip in (*eni.ipv4, *eni.ipv6)]
        assert len(given) == len(set(given))

    @invariant()
    def every_address_is_of_its_vswitch_and_not_reserved(self):
        for eni in self.state.enis.values():
            vswitch = self.state.vswitches[eni.vswitch_id]
            ranges = {4: vswitch.cidr, 6: vswitch.ipv6_cidr}
            for ip in (*eni.ipv4, *eni.ipv6):
                cidr = ranges[ip.version]
                assert cidr is not None
                assert int(cidr[0]) < int(ip) < int(gateway_of(cidr))

    @invariant()
    def the_limits_of_the_instance_type_hold(self):
        mine = self.state.enis_of(self.world.instance_id)
        devices = [eni for eni in mine if eni.trunk_id is None]
        members = [eni for eni in mine if eni.trunk_id is not None]
        assert len(devices) <= 4
        assert len({eni.slot for eni in devices}) == len(devices)
        assert len(members) <= 16
        assert len({eni.vlan_id for eni in members}) == len(members)
        assert sum(eni.type is ENIType.TRUNK for eni in devices) <= 1
        for eni in mine:
            assert len(eni.ipv4) <= 15
            assert len(eni.ipv6) <= 15

    @invariant()
    def the_vswitch_counts_what_is_free(self):
        answer = self.world.call("DescribeVSwitches", version=VPC, VSwitchId=self.world.pod_vswitch)
        (shown,) = answer["VSwitches"]["VSwitch"]
        taken = [ip for eni in self.state.enis_in(self.world.pod_vswitch) for ip in eni.ipv4]
        assert shown["AvailableIpAddressCount"] == 28 - len(taken)

    @invariant()
    def members_are_those_of_a_trunk_in_use_on_the_same_instance(self):
        for eni in self.state.enis.values():
            assert (eni.type is ENIType.MEMBER) == (eni.trunk_id is not None)
            if eni.trunk_id is not None:
                trunk = self.state.enis[eni.trunk_id]
                assert trunk.status is ENIStatus.IN_USE
                assert trunk.instance_id == eni.instance_id

    @invariant()
    def the_fabric_can_carry_it(self):
        check_state(self.world.cloud.vpc_state())

    @invariant()
    def the_fabric_has_the_plugged_enis(self):
        ports = {port.eni_id for port in self.world.cloud.vpc_state().ports}
        assert ports == {eni.id for eni in self.state.enis.values() if eni.is_plugged}


AnyCalls.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyCalls = AnyCalls.TestCase


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(["create", "attach", "wait"]), max_size=8))
def test_the_same_seed_and_calls_give_the_same_world(seed, steps):
    def play():
        world = make_world(seed=seed)
        made = [str(world.instance.primary_eni_id)]
        for step in steps:
            if step == "create":
                made.append(world.create_eni(Ipv6AddressCount="1"))
            elif step == "attach":
                world.attach(made[-1])
            else:
                world.pass_time()
        return world.cloud.vpc_state()

    assert play() == play()
